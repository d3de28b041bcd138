package gorilla

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// everywhere runs a test against a node without Redis and one of a cluster: they must not differ.
func everywhere(t *testing.T, test func(t *testing.T, node string)) {
	for _, node := range []string{"ALONE", "NODE_A"} {
		t.Run(node, func(t *testing.T) { test(t, node) })
	}
}

func TestConnectAnonymously(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		s := c.status(t)
		if s.UserID == nil || *s.UserID != "" {
			t.Fatalf("an anonymous client has the user id \"\", not %v", s.UserID)
		}
		other := dial(t, node).status(t)
		if other.ClientID == s.ClientID {
			t.Fatal("two clients with one id")
		}
		if sub := c.conn.Subprotocol(); sub != "" {
			t.Fatalf("a subprotocol %q that nobody offered", sub)
		}
	})
}

func TestSubprotocols(t *testing.T) {
	for _, row := range []struct {
		offered  []string
		selected string
	}{
		{[]string{"conduit.v1.json"}, "conduit.v1.json"},
		{[]string{"soap", "conduit.v1.json"}, "conduit.v1.json"},
		{[]string{"soap"}, ""},
	} {
		c := dial(t, "ALONE", subprotocols(row.offered...))
		if got := c.conn.Subprotocol(); got != row.selected {
			t.Errorf("of %v the server took %q", row.offered, got)
		}
		c.fence(t)
	}
}

func TestCompressionOfferIsDeclined(t *testing.T) {
	c := dial(t, "ALONE", offeringCompression())
	c.conn.EnableWriteCompression(true)
	c.fence(t)
}

func TestPing(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		for _, data := range []string{
			`1732400000123`, `12345678901234567890123`, `1.50`, `-0`, `"noon"`, `null`, `true`, `{"a":[1,2]}`, `[]`,
		} {
			e := c.request(t, "ping", data)
			if e.Type != "pong" || string(e.Data) != `{"timestamp":`+data+`}` {
				t.Errorf("ping %s: %s", data, e.raw)
			}
		}
		c.send(t, `{"type":"ping"}`)
		if e := c.next(t, "pong"); string(e.Data) != `{"timestamp":null}` || e.ID != nil {
			t.Errorf("ping without data or id: %s", e.raw)
		}
	})
}

func TestPongIsSilent(t *testing.T) {
	c := dial(t, "ALONE")
	before := c.status(t)
	c.send(t, `{"type":"pong","data":1,"id":"quiet"}`)
	c.fence(t)
	c.mu.Lock()
	rest := len(c.inbox)
	c.mu.Unlock()
	if rest != 0 {
		t.Fatalf("a pong was answered: %v", c.inbox)
	}
	if after := c.status(t); after.LastHeartbeat < before.LastHeartbeat {
		t.Fatalf("last_heartbeat went back from %s to %s", before.LastHeartbeat, after.LastHeartbeat)
	}
}

func TestEchoKeepsTheBytes(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		for _, data := range []string{
			`"hello"`, `{}`, `[]`, `null`, `false`, `0`, `-0.0`, `1E+2`, `1.0e5`, `123456789012345678901234567890.5`,
			`{ "a" : 1 ,	"b":[ 1,2 , 3 ] }`, "{\n  \"x\": \"y\"\n}", `"\u00e9\ud83d\ude00\/\"\\\b\f\n\r\t"`, `"é😀 \u0000"`,
			`{"a":1,"a":2}`, `""`, `"</script><!-- & '"`, "\"\u2028\u2029\u007f\"", `[[[[[[[[[[1]]]]]]]]]]`,
			`"` + strings.Repeat("x", 100_000) + `"`,
			`"` + strings.Repeat("\u00e9", 126) + `"`,
		} {
			var got struct {
				Original *string `json:"original"`
			}
			e := c.request(t, "echo", data)
			e.into(t, &got)
			if e.Type != "echo" || got.Original == nil || *got.Original != data {
				t.Errorf("echo of %.60q: %.200s", data, e.raw)
			}
		}
	})
}

func TestEchoOfEveryLength(t *testing.T) {
	// Around the limits of the frame header's lengths, and of read buffers.
	c := dial(t, "ALONE")
	for _, n := range []int{1, 80, 90, 100, 110, 120, 125, 126, 127, 128, 4096, 16383, 16384, 16385, 65400, 65500, 65535, 65536, 65537, 131072, 400_000} {
		data := `"` + strings.Repeat("a", n) + `"`
		if e := c.request(t, "echo", data); e.Type != "echo" || len(e.Data) != n+len(`{"original":"\"\""}`) {
			t.Errorf("echo of %d bytes: %d bytes of data", n, len(e.Data))
		}
	}
}

func TestStatus(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		began := time.Now()
		c := dial(t, node)
		first, second := freshRoom("status"), freshRoom("status")
		c.join(t, first)
		c.join(t, second)
		var fields map[string]json.RawMessage
		e := c.request(t, "status", "null")
		e.into(t, &fields)
		for _, name := range []string{
			"client_id", "user_id", "connected_at", "connection_duration", "last_heartbeat", "node_id", "rooms",
		} {
			if _, ok := fields[name]; !ok {
				t.Errorf("status without %s: %s", name, e.raw)
			}
		}
		s := c.status(t)
		if got := map[string]bool{}; len(s.Rooms) != 2 {
			t.Errorf("rooms %v", s.Rooms)
		} else if got[s.Rooms[0]], got[s.Rooms[1]] = true, true; !got[first] || !got[second] {
			t.Errorf("rooms %v, not %s and %s", s.Rooms, first, second)
		}
		if !strings.HasPrefix(s.ClientID, s.NodeID+".") {
			t.Errorf("client %s of node %s", s.ClientID, s.NodeID)
		}
		for _, text := range []string{s.ConnectedAt, s.LastHeartbeat} {
			at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
			if err != nil || at.Before(began.Add(-2*time.Second)) || at.After(time.Now().Add(2*time.Second)) {
				t.Errorf("time %q: %v", text, err)
			}
		}
		if d := s.ConnectionDuration; d == nil || *d < 0 || *d > time.Since(began).Seconds()+1 {
			t.Errorf("connection_duration %v after %v", d, time.Since(began))
		}
		if again := c.status(t); *again.ConnectionDuration < *s.ConnectionDuration {
			t.Errorf("connection_duration went back")
		}
	})
}

func TestRooms(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		room := freshRoom("lobby")
		e := c.request(t, "join_room", `{"room":`+quote(room)+`}`)
		if e.Type != "room_joined" || string(e.Data) != `{"room":`+quote(room)+`}` {
			t.Errorf("join: %s", e.raw)
		}
		// Joining twice is joining once.
		c.join(t, room)
		if s := c.status(t); len(s.Rooms) != 1 {
			t.Errorf("rooms after joining twice: %v", s.Rooms)
		}
		e = c.request(t, "leave_room", `{"room":`+quote(room)+`}`)
		if e.Type != "room_left" || string(e.Data) != `{"room":`+quote(room)+`}` {
			t.Errorf("leave: %s", e.raw)
		}
		if f := c.fails(t, "not_in_room", "leave_room", `{"room":`+quote(room)+`}`); f.RequestType != "leave_room" {
			t.Errorf("request_type %q", f.RequestType)
		}
		// Left means left.
		c.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"late","payload":1}`)
		c.fence(t)
		c.hasNone(t, "late")
	})
}

func TestRoomsWithOddNames(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		for _, room := range []string{
			"*", "?", "[a]", "{tag}", "}{", "%", "%7B", "a:b:c", ":", " ", "ü 😀", `"quoted"\`, "..", "/", "\u00a0",
			strings.Repeat("x", 255), strings.Repeat("é", 127),
		} {
			in, out := dial(t, node), dial(t, node)
			in.join(t, room)
			out.join(t, freshRoom("elsewhere"))
			out.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"odd","payload":{"in":`+quote(room)+`}}`)
			if e := in.next(t, "odd"); e.Room == nil || *e.Room != room {
				t.Errorf("room %q came as %s", room, e.raw)
			}
			out.fence(t)
			out.hasNone(t, "odd")
			in.conn.Close()
			out.conn.Close()
		}
	})
}

func TestBadRoomNames(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		for _, kind := range []string{"join_room", "leave_room", "presence"} {
			c.fails(t, "bad_request", kind, `{"room":""}`)
			c.fails(t, "limit_exceeded", kind, `{"room":`+quote(strings.Repeat("x", 256))+`}`)
			c.fails(t, "limit_exceeded", kind, `{"room":`+quote(strings.Repeat("é", 128))+`}`)
			for _, control := range []string{`a\u0000`, `\n`, `a\tb`, `\u001f`, `\u007f`, `\u0085`, "a\u007fb", "\u0099"} {
				c.fails(t, "bad_request", kind, `{"room":"`+control+`"}`)
			}
			for _, data := range []string{`{}`, `null`, `[]`, `"lobby"`, `1`, `{"room":1}`, `{"room":null}`, `{"room":["a"]}`} {
				c.fails(t, "bad_request", kind, data)
			}
		}
		c.fails(t, "bad_request", "broadcast", `{"room":"","type":"x","payload":1}`)
		c.fails(t, "limit_exceeded", "broadcast", `{"room":`+quote(strings.Repeat("x", 256))+`,"type":"x","payload":1}`)
		c.fails(t, "bad_request", "broadcast", `{"room":"a\u0007","type":"x","payload":1}`)
		if s := c.status(t); len(s.Rooms) != 0 {
			t.Fatalf("rooms %q after nothing but bad names", s.Rooms)
		}
	})
}

func TestRoomLimit(t *testing.T) {
	c := dial(t, "ALONE")
	prefix := freshRoom("limit")
	for i := 0; i < 128; i++ {
		c.join(t, fmt.Sprint(prefix, ".", i))
	}
	c.fails(t, "limit_exceeded", "join_room", `{"room":`+quote(prefix)+`}`)
	c.request(t, "leave_room", `{"room":`+quote(prefix+".5")+`}`)
	c.join(t, prefix)
}

func TestBroadcastToARoom(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("room")
		sender, friend, stranger := dial(t, node), dial(t, node), dial(t, node)
		sender.join(t, room)
		friend.join(t, room)
		payload := `{"text":"hi \u00e9","n":[1, 2.50]}`
		if e := sender.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"chat","payload":`+payload+`}`); e.Type != "ack" {
			t.Fatalf("ack: %s", e.raw)
		}
		for _, c := range []*client{sender, friend} {
			e := c.next(t, "chat")
			if string(e.Data) != payload || e.Room == nil || *e.Room != room || e.ID != nil {
				t.Errorf("a member got %s", e.raw)
			}
		}
		sender.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"others","payload":1,"exclude_self":true}`)
		friend.next(t, "others")
		sender.fence(t)
		sender.hasNone(t, "others")
		// Without a payload it is null.
		sender.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"bare"}`)
		if e := friend.next(t, "bare"); string(e.Data) != "null" {
			t.Errorf("no payload: %s", e.raw)
		}
		stranger.fence(t)
		for _, kind := range []string{"chat", "others", "bare"} {
			stranger.hasNone(t, kind)
			friend.hasNone(t, kind)
		}
	})
}

func TestBroadcastToAll(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		sender, friend, member := dial(t, node), dial(t, node), dial(t, node)
		member.join(t, freshRoom("any"))
		kind := freshRoom("news")
		sender.request(t, "broadcast", `{"type":`+quote(kind)+`,"payload":{"n":1}}`)
		for _, c := range []*client{sender, friend, member} {
			if e := c.next(t, kind); string(e.Data) != `{"n":1}` || e.Room != nil {
				t.Errorf("broadcast to all: %s", e.raw)
			}
		}
		sender.request(t, "broadcast", `{"type":`+quote(kind+"-others")+`,"payload":2,"exclude_self":true}`)
		friend.next(t, kind+"-others")
		sender.fence(t)
		sender.hasNone(t, kind+"-others")
	})
}

func TestPublishWithoutJoining(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("guests")
		guest, member := dial(t, node), dial(t, node)
		member.join(t, room)
		if e := guest.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"knock","payload":null}`); e.Type != "ack" {
			t.Fatalf("publish without joining: %s", e.raw)
		}
		member.next(t, "knock")
		guest.fence(t)
		guest.hasNone(t, "knock")
		if s := guest.status(t); len(s.Rooms) != 0 {
			t.Errorf("publishing made a member: %v", s.Rooms)
		}
	})
}

func TestUnknownTypes(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		for _, kind := range []string{"dance", "PING", "ping ", "Join_Room", "room_joined", "custom"} {
			if f := c.fails(t, "unknown_type", kind, "null"); f.RequestType != kind {
				t.Errorf("request_type %q for %q", f.RequestType, kind)
			}
		}
		// Without an id there is an error as well.
		c.send(t, `{"type":"dance"}`)
		if e := c.next(t, "error"); e.ID != nil {
			t.Errorf("an id from nowhere: %s", e.raw)
		}
	})
}

func TestNotJSON(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		for _, text := range []string{
			"", " ", "hello", "{", "}", `{"type":"ping"`, `{"type":"ping"}}`, `{"type":"ping"} {"type":"ping"}`,
			"{\"type\":\"ping\"}\n{\"type\":\"ping\"}", `{'type':'ping'}`, `{"type":"ping",}`, `{"type":ping}`,
			`{"type":"ping","data":01}`, `{"type":"ping","data":NaN}`, `{"type":"ping","data":"` + "\x01" + `"}`,
			`{"type":"ping","data":"\x"}`, "\ufeff{\"type\":\"ping\"}", `nul`, `// x`, strings.Repeat("[", 5000),
			`[1]`, `"ping"`, `1`, `null`, `true`, `{}`, `{"type":1}`, `{"type":null}`, `{"type":""}`,
			`{"type":"ping","id":{}}`, `{"type":"ping","id":[1]}`, `{"type":"ping","id":true}`,
		} {
			c.send(t, text)
			isError(t, c.next(t, "error"), "bad_request")
		}
		c.fence(t)
		c.hasNone(t, "pong")
		c.hasNone(t, "error")
	})
}

func TestReservedTypes(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c, victim := dial(t, node), dial(t, node)
		room := freshRoom("reserved")
		victim.join(t, room)
		to := quote(victim.status(t).ClientID)
		reserved := []string{
			"ping", "pong", "echo", "status", "join_room", "room_joined", "leave_room", "room_left", "broadcast", "ack",
			"send", "presence", "presence_diff", "history", "refresh", "refreshed", "room_state", "reconnect", "error",
		}
		for _, kind := range append(reserved, `\u0065rror`) {
			c.fails(t, "reserved_type", "broadcast", `{"room":`+quote(room)+`,"type":"`+kind+`","payload":1}`)
			c.fails(t, "reserved_type", "broadcast", `{"type":"`+kind+`","payload":1}`)
			c.fails(t, "reserved_type", "send", `{"client":`+to+`,"type":"`+kind+`","payload":1}`)
		}
		c.fails(t, "bad_request", "broadcast", `{"room":`+quote(room)+`,"payload":1}`)
		c.fails(t, "bad_request", "broadcast", `{"room":`+quote(room)+`,"type":"","payload":1}`)
		c.fails(t, "bad_request", "broadcast", `{"room":`+quote(room)+`,"type":5,"payload":1}`)
		victim.fence(t)
		if len(victim.inbox) != 0 {
			t.Fatalf("the victim got %v", victim.inbox)
		}
	})
}

func TestIDsComeBack(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		room := quote(freshRoom("ids"))
		me := quote(c.status(t).ClientID)
		for _, id := range []string{`"a"`, `1`, `0`, `-7`, `1.5`, `12345678901234567890`, `"é\u00e9\n"`, `""`, `"` + strings.Repeat("i", 253) + `"`} {
			for _, row := range []struct{ kind, data, answer string }{
				{"ping", "1", "pong"}, {"echo", "1", "echo"}, {"status", "null", "status"},
				{"join_room", `{"room":` + room + `}`, "room_joined"},
				{"presence", `{"room":` + room + `}`, "presence"},
				{"broadcast", `{"room":` + room + `,"type":"t","payload":1}`, "ack"},
				{"send", `{"client":` + me + `,"type":"t","payload":1}`, "ack"},
				{"leave_room", `{"room":` + room + `}`, "room_left"},
				{"leave_room", `{"room":` + room + `}`, "error"}, {"nonsense", "1", "error"},
				{"history", `{"room":` + room + `}`, "error"}, {"refresh", `{"token":"t"}`, "error"},
			} {
				c.send(t, fmt.Sprintf(`{"id":%s,"data":%s,"type":%q}`, id, row.data, row.kind))
				if e := c.answer(t, id); e.Type != row.answer {
					t.Errorf("%s with the id %s was answered %s", row.kind, id, e.raw)
				}
			}
		}
		c.send(t, `{"type":"ping","id":null}`)
		if e := c.next(t, "pong"); e.ID != nil {
			t.Errorf("null is no id: %s", e.raw)
		}
	})
}

func TestAckOnlyWithAnID(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		room := quote(freshRoom("ack"))
		me := quote(c.status(t).ClientID)
		c.request(t, "join_room", `{"room":`+room+`}`)
		c.send(t, `{"type":"broadcast","data":{"room":`+room+`,"type":"t","payload":1}}`)
		c.send(t, `{"type":"broadcast","data":{"type":"u","payload":1}}`)
		c.send(t, `{"type":"send","data":{"client":`+me+`,"type":"v","payload":1}}`)
		c.next(t, "t")
		c.next(t, "u")
		c.next(t, "v")
		c.fence(t)
		c.hasNone(t, "ack")
		e := c.request(t, "broadcast", `{"room":`+room+`,"type":"t","payload":1}`)
		if e.Type != "ack" || string(e.Data) != "{}" {
			t.Errorf("ack: %s", e.raw)
		}
	})
}

func delivered(t *testing.T, e event) int {
	t.Helper()
	var ack struct {
		DeliveredTo *int `json:"delivered_to"`
	}
	if e.Type != "ack" {
		t.Fatalf("an ack was due, not %s", e.raw)
	}
	e.into(t, &ack)
	if ack.DeliveredTo == nil {
		t.Fatalf("no delivered_to in %s", e.raw)
	}
	return *ack.DeliveredTo
}

func TestSendToAClient(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		sender, target, other := dial(t, node), dial(t, node), dial(t, node)
		id := target.status(t).ClientID
		e := sender.request(t, "send", `{"client":`+quote(id)+`,"type":"whisper","payload":{"n":1}}`)
		if n := delivered(t, e); n != 1 {
			t.Errorf("delivered to %d", n)
		}
		if e := target.next(t, "whisper"); string(e.Data) != `{"n":1}` || e.Room != nil {
			t.Errorf("the target got %s", e.raw)
		}
		other.fence(t)
		other.hasNone(t, "whisper")
		sender.hasNone(t, "whisper")
		// One that is gone.
		target.conn.Close()
		eventually(t, "nobody is reached any more", func() bool {
			return delivered(t, sender.request(t, "send", `{"client":`+quote(id)+`,"type":"late","payload":1}`)) == 0
		})
		sender.fails(t, "bad_request", "send", `{"client":"nobody","type":"x","payload":1}`)
		sender.fails(t, "bad_request", "send", `{"type":"x","payload":1}`)
		sender.fails(t, "bad_request", "send", `{"client":`+quote(id)+`,"user":"u","type":"x","payload":1}`)
		if n := delivered(t, sender.request(t, "send", `{"user":"nobody","type":"x","payload":1}`)); n != 0 {
			t.Errorf("a user without connections was reached %d times", n)
		}
	})
}

func TestPresence(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("presence")
		asker, quiet := dial(t, node), dial(t, node)
		if r := asker.presence(t, room); r.Room != room || r.Count != 0 || r.Users != 0 || r.Members == nil || len(r.Members) != 0 {
			t.Fatalf("an empty room: %+v", r)
		}
		asker.request(t, "join_room", `{"room":`+quote(room)+`,"presence":true,"info":{"name":"Ann", "n":1.0}}`)
		quiet.join(t, room)
		me, you := asker.status(t), quiet.status(t)
		var r roster
		eventually(t, "two members", func() bool { r = asker.presence(t, room); return r.Count == 2 })
		byID := map[string]member{}
		for _, m := range r.Members {
			byID[m.ClientID] = m
		}
		if m := byID[me.ClientID]; string(m.Info) != `{"name":"Ann", "n":1.0}` || m.NodeID != me.NodeID || m.UserID == nil || *m.UserID != "" {
			t.Errorf("me: %+v", m)
		}
		if m := byID[you.ClientID]; string(m.Info) != `null` || m.NodeID != you.NodeID {
			t.Errorf("you: %+v", m)
		}
		for _, m := range r.Members {
			if _, err := time.Parse("2006-01-02T15:04:05.000Z", m.JoinedAt); err != nil {
				t.Errorf("joined_at: %v", err)
			}
		}
		// A third comes and goes: told to the one who asked only.
		third := dial(t, node)
		third.join(t, room)
		id := third.status(t).ClientID
		asker.watch(t, room, func(joined, _ map[string]member, last diff) bool { return joined[id].ClientID == id && last.Count == 3 })
		third.request(t, "leave_room", `{"room":`+quote(room)+`}`)
		asker.watch(t, room, func(_, left map[string]member, last diff) bool { return left[id].Reason == "left" && last.Count == 2 })
		third.join(t, room)
		asker.watch(t, room, func(joined, _ map[string]member, last diff) bool { return joined[id].ClientID == id && last.Count == 3 })
		third.conn.Close()
		asker.watch(t, room, func(_, left map[string]member, last diff) bool {
			return left[id].Reason == "disconnected" && last.Count == 2
		})
		quiet.fence(t)
		quiet.hasNone(t, "presence_diff")
		quiet.hasNone(t, "room_state")
	})
}

func TestPresenceInPages(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("pages")
		want := map[string]bool{}
		var first *client
		for i := 0; i < 25; i++ {
			c := dial(t, node)
			c.join(t, room)
			want[c.status(t).ClientID] = true
			first = c
		}
		eventually(t, "25 members", func() bool { return first.presence(t, room).Count == 25 })
		got, cursor := map[string]bool{}, ""
		for page := 0; page < 10; page++ {
			var r roster
			first.request(t, "presence", `{"room":`+quote(room)+`,"limit":10`+cursor+`}`).into(t, &r)
			if len(r.Members) > 10 {
				t.Fatalf("%d members on a page of 10", len(r.Members))
			}
			for _, m := range r.Members {
				if got[m.ClientID] {
					t.Errorf("%s stands on two pages", m.ClientID)
				}
				got[m.ClientID] = true
			}
			if r.Cursor == nil {
				break
			}
			cursor = `,"cursor":` + quote(*r.Cursor)
		}
		if len(got) != len(want) {
			t.Errorf("%d members on all pages, not %d", len(got), len(want))
		}
	})
}

func TestRefusedUpgrades(t *testing.T) {
	url := address(t, "ALONE")
	for _, row := range []struct {
		what    string
		url     string
		options []option
		status  int
	}{
		{"another origin", url, []option{header("Origin", "https://evil.example")}, 403},
		{"another path", strings.Replace(url, "/ws", "/nothing", 1), nil, 404},
	} {
		c, response, err := tryDial(row.url, row.options...)
		if err != websocket.ErrBadHandshake || response == nil || response.StatusCode != row.status {
			t.Errorf("%s: %v %v", row.what, err, response)
		}
		if c != nil {
			c.conn.Close()
		}
	}
	// The same host is welcome.
	host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")
	dial(t, "ALONE", header("Origin", "http://"+host)).fence(t)
}
