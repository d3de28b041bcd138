package gorilla

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// channelOf is the Redis channel of a room.
func channelOf(room string) string {
	prefix := os.Getenv("REDIS_PREFIX")
	if prefix == "" {
		prefix = "conduit"
	}
	encoded := strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D").Replace(room)
	return prefix + ":room:{" + encoded + "}"
}

// listeners is how many nodes are subscribed to a room.
func listeners(t *testing.T, room string) int {
	t.Helper()
	lines := strings.Split(redis(t, "PUBSUB", "NUMSUB", channelOf(room)), "\n")
	n, err := strconv.Atoi(strings.TrimSpace(lines[len(lines)-1]))
	if err != nil {
		t.Fatalf("NUMSUB: %q", lines)
	}
	return n
}

// bridged waits until n nodes are subscribed to a room.
func bridged(t *testing.T, room string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d nodes subscribed to %s", n, room), func() bool { return listeners(t, room) == n })
}

func TestNodesDiffer(t *testing.T) {
	a, b := dial(t, "NODE_A").status(t), dial(t, "NODE_B").status(t)
	if a.NodeID == b.NodeID {
		t.Fatalf("both nodes are %s", a.NodeID)
	}
}

func TestBroadcastCrossesNodes(t *testing.T) {
	for _, room := range []string{freshRoom("cross"), freshRoom("odd {tag} * ? [x] % %7B é 😀 \"q\" :")} {
		a, friend, b, stranger := dial(t, "NODE_A"), dial(t, "NODE_A"), dial(t, "NODE_B"), dial(t, "NODE_B")
		a.join(t, room)
		friend.join(t, room)
		b.join(t, room)
		bridged(t, room, 2)
		payload := `{"text":"over \u00e9 there","n":[1, 2.50]}`
		a.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"chat","payload":`+payload+`}`)
		for _, c := range []*client{a, friend, b} {
			if e := c.next(t, "chat"); string(e.Data) != payload || e.Room == nil || *e.Room != room {
				t.Errorf("a member got %s", e.raw)
			}
		}
		// Back, without the sender; then everything that could come twice has come.
		b.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"back","payload":1,"exclude_self":true}`)
		a.next(t, "back")
		friend.next(t, "back")
		a.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"end","payload":1}`)
		b.next(t, "end")
		b.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"end2","payload":1}`)
		a.next(t, "end2")
		for _, c := range []*client{a, friend, b} {
			c.hasNone(t, "chat")
			c.hasNone(t, "back")
		}
		stranger.fence(t)
		stranger.hasNone(t, "chat")
		stranger.hasNone(t, "back")
	}
}

func TestBroadcastToAllCrossesNodes(t *testing.T) {
	a, friend, b, third := dial(t, "NODE_A"), dial(t, "NODE_A"), dial(t, "NODE_B"), dial(t, "NODE_C")
	kind := freshRoom("all")
	a.request(t, "broadcast", `{"type":`+quote(kind)+`,"payload":{"n":1}}`)
	for _, c := range []*client{a, friend, b, third} {
		if e := c.next(t, kind); string(e.Data) != `{"n":1}` || e.Room != nil {
			t.Errorf("broadcast to all: %s", e.raw)
		}
	}
	a.request(t, "broadcast", `{"type":`+quote(kind+"-x")+`,"payload":2,"exclude_self":true}`)
	b.next(t, kind+"-x")
	b.request(t, "broadcast", `{"type":`+quote(kind+"-end")+`,"payload":3}`)
	for _, c := range []*client{a, friend, b, third} {
		c.next(t, kind+"-end")
		c.hasNone(t, kind)
	}
	a.hasNone(t, kind+"-x")
}

func TestPublishFromANodeWithoutMembers(t *testing.T) {
	room := freshRoom("remote")
	guest, member := dial(t, "NODE_A"), dial(t, "NODE_B")
	member.join(t, room)
	bridged(t, room, 1)
	if e := guest.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"knock","payload":1}`); e.Type != "ack" {
		t.Fatalf("publish: %s", e.raw)
	}
	member.next(t, "knock")
	if n := listeners(t, room); n != 1 {
		t.Errorf("%d nodes are subscribed to a room with members on one", n)
	}
}

func TestInterestFollowsTheMembers(t *testing.T) {
	room := freshRoom("interest")
	if n := listeners(t, room); n != 0 {
		t.Fatalf("%d nodes listen to a room that never was", n)
	}
	a, second, b := dial(t, "NODE_A"), dial(t, "NODE_A"), dial(t, "NODE_B")
	a.join(t, room)
	bridged(t, room, 1)
	second.join(t, room)
	b.join(t, room)
	bridged(t, room, 2)
	b.request(t, "leave_room", `{"room":`+quote(room)+`}`)
	bridged(t, room, 1)
	// The node of the member who left gets nothing, and asks for nothing when told to publish.
	a.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"after","payload":1}`)
	second.next(t, "after")
	b.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"guest","payload":1}`)
	second.next(t, "guest")
	b.fence(t)
	b.hasNone(t, "after")
	b.hasNone(t, "guest")
	if n := listeners(t, room); n != 1 {
		t.Errorf("%d nodes listen", n)
	}
	// A dropped connection ends interest as leaving does; one of two members is not the last.
	second.conn.Close()
	a.fence(t)
	if n := listeners(t, room); n != 1 {
		t.Errorf("%d nodes listen while a member is left", n)
	}
	a.conn.Close()
	bridged(t, room, 0)
	// And back again.
	c := dial(t, "NODE_A")
	c.join(t, room)
	bridged(t, room, 1)
}

func TestSendToAClientOfAnotherNode(t *testing.T) {
	a, b, other := dial(t, "NODE_A"), dial(t, "NODE_B"), dial(t, "NODE_B")
	id := b.status(t).ClientID
	if n := delivered(t, a.request(t, "send", `{"client":`+quote(id)+`,"type":"whisper","payload":{"n":1}}`)); n != 1 {
		t.Errorf("delivered to %d", n)
	}
	if e := b.next(t, "whisper"); string(e.Data) != `{"n":1}` {
		t.Errorf("whisper: %s", e.raw)
	}
	// Without an id too.
	a.send(t, `{"type":"send","data":{"client":`+quote(id)+`,"type":"again","payload":2}}`)
	b.next(t, "again")
	b.fence(t)
	b.hasNone(t, "whisper")
	other.fence(t)
	other.hasNone(t, "whisper")
	other.hasNone(t, "again")
	b.conn.Close()
	eventually(t, "nobody is reached any more", func() bool {
		return delivered(t, a.request(t, "send", `{"client":`+quote(id)+`,"type":"late","payload":1}`)) == 0
	})
	// A client of a node that never was.
	nobody := "no-such-node." + strings.Repeat("x", 20)
	if n := delivered(t, a.request(t, "send", `{"client":`+quote(nobody)+`,"type":"late","payload":1}`)); n != 0 {
		t.Errorf("a client of no node was reached %d times", n)
	}
}

func TestPresenceCrossesNodes(t *testing.T) {
	room := freshRoom("presence")
	a, b, quiet := dial(t, "NODE_A"), dial(t, "NODE_B"), dial(t, "NODE_B")
	a.request(t, "join_room", `{"room":`+quote(room)+`,"presence":true,"info":{"name":"Ann"}}`)
	bridged(t, room, 1)
	quiet.join(t, room)
	b.request(t, "join_room", `{"room":`+quote(room)+`,"presence":true,"info":{"name": "Bob"}}`)
	sa, sb, sq := a.status(t), b.status(t), quiet.status(t)
	a.watch(t, room, func(joined, _ map[string]member, last diff) bool {
		m, ok := joined[sb.ClientID]
		return ok && string(m.Info) == `{"name": "Bob"}` && m.NodeID == sb.NodeID && last.Count == 3
	})
	// Both nodes tell the same; a client that is in no room may ask.
	outside := dial(t, "NODE_B")
	for _, c := range []*client{a, b, outside} {
		eventually(t, "three members", func() bool { return c.presence(t, room).Count == 3 })
		nodes := map[string]string{}
		for _, m := range c.presence(t, room).Members {
			nodes[m.ClientID] = m.NodeID
		}
		for _, s := range []status{sa, sb, sq} {
			if nodes[s.ClientID] != s.NodeID {
				t.Errorf("%s is on %q, not %s", s.ClientID, nodes[s.ClientID], s.NodeID)
			}
		}
	}
	if n := redis(t, "HLEN", strings.Replace(channelOf(room), ":room:", ":members:", 1)); n != "3" {
		t.Errorf("%s members in Redis", n)
	}
	b.request(t, "leave_room", `{"room":`+quote(room)+`}`)
	a.watch(t, room, func(_, left map[string]member, last diff) bool {
		return left[sb.ClientID].Reason == "left" && last.Count == 2
	})
	quiet.fence(t)
	quiet.hasNone(t, "presence_diff")
	quiet.conn.Close()
	a.watch(t, room, func(_, left map[string]member, last diff) bool {
		return left[sq.ClientID].Reason == "disconnected" && last.Count == 1
	})
	a.conn.Close()
	eventually(t, "the room is empty", func() bool { return outside.presence(t, room).Count == 0 })
	eventually(t, "no members in Redis", func() bool {
		return redis(t, "EXISTS", strings.Replace(channelOf(room), ":room:", ":members:", 1)) == "0"
	})
}

func TestAMemberSeesThoseWhoWereThereBefore(t *testing.T) {
	room := freshRoom("late")
	early := dial(t, "NODE_A")
	early.join(t, room)
	id := early.status(t).ClientID
	late := dial(t, "NODE_B")
	late.join(t, room)
	eventually(t, "both are in the roster of the node that came later", func() bool {
		r := late.presence(t, room)
		found := false
		for _, m := range r.Members {
			found = found || m.ClientID == id
		}
		return r.Count == 2 && found
	})
}

func TestOrderOverTheBus(t *testing.T) {
	storm(t, "NODE_A", []string{"NODE_A", "NODE_B"}, func(rooms []string) {
		for _, room := range rooms {
			bridged(t, room, 2)
		}
	}, 10_000)
}

func TestBigMessagesCrossNodes(t *testing.T) {
	room := freshRoom("big")
	a, b := dial(t, "NODE_A"), dial(t, "NODE_B")
	a.join(t, room)
	b.join(t, room)
	bridged(t, room, 2)
	for n := 0; n < 5; n++ {
		payload := `"` + fmt.Sprint(n) + strings.Repeat("y", 500*1024) + `"`
		a.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"big","payload":`+payload+`}`)
		if e := b.next(t, "big"); string(e.Data) != payload {
			t.Errorf("%d bytes came over", len(e.Data))
		}
	}
}

func TestWhatRedisKnowsOfTheNodes(t *testing.T) {
	prefix := strings.TrimSuffix(channelOf("x"), ":room:{x}")
	for _, node := range []string{"NODE_A", "NODE_B"} {
		c := dial(t, node)
		id := c.status(t).NodeID
		eventually(t, id+" is in the table of nodes", func() bool {
			return redis(t, "ZSCORE", prefix+":nodes", id) != "" && redis(t, "HGET", prefix+":node:"+id, "state") == "ready"
		})
		eventually(t, id+" counts its clients", func() bool { return redis(t, "HGET", prefix+":node:"+id, "clients") != "0" })
		if !strings.Contains(redis(t, "XREVRANGE", prefix+":events", "+", "-", "COUNT", "1000"), id) {
			t.Errorf("no event tells of %s", id)
		}
		if redis(t, "XLEN", prefix+":series:"+id) == "0" {
			t.Errorf("no series of %s", id)
		}
	}
}
