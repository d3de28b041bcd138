package gorilla

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// loadPatience bounds a load test: debug builds on busy machines are slow.
const loadPatience = 90 * time.Second

// numbered is the payload of a load test's message: the n-th of one sender to one target.
type numbered struct {
	Sender int `json:"s"`
	Number int `json:"n"`
}

// flood sends total messages in turn to the targets ("" is everybody) and never has more than a window of them on the way
// to its own connection, which is in all rooms.
func flood(c *client, sender int, targets []string, kind string, total int) error {
	const window = 1000
	for n := 0; n < total; n++ {
		room := ""
		if target := targets[n%len(targets)]; target != "" {
			room = `"room":` + quote(target) + `,`
		}
		message := fmt.Sprintf(`{"type":"broadcast","data":{%s"type":%q,"payload":{"s":%d,"n":%d}}}`, room, kind, sender, n)
		if err := c.conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			return err
		}
		if n%window == window-1 {
			seen, count, due := 0, 0, n+1
			if !c.wait(loadPatience, func() bool {
				for ; seen < len(c.inbox); seen++ {
					var p numbered
					if e := c.inbox[seen]; e.Type == kind && json.Unmarshal(e.Data, &p) == nil && p.Sender == sender {
						count++
					}
				}
				return count >= due
			}) {
				return fmt.Errorf("sender %d got %d of its own %d messages", sender, count, due)
			}
		}
	}
	return nil
}

// check sees to it that the events are, for each sender, exactly the numbers for which due says yes, in order.
func check(t *testing.T, who string, events []event, senders, total int, due func(n int) bool) {
	t.Helper()
	next := make([]int, senders)
	skip := func(s int) {
		for next[s] < total && !due(next[s]) {
			next[s]++
		}
	}
	for s := range next {
		skip(s)
	}
	for _, e := range events {
		var p numbered
		e.into(t, &p)
		if p.Sender >= senders || p.Number != next[p.Sender] {
			t.Fatalf("%s: number %d of sender %d came where %d was due: lost, doubled or out of order", who, p.Number, p.Sender, next[p.Sender])
		}
		next[p.Sender]++
		skip(p.Sender)
	}
	for s, n := range next {
		if n != total {
			t.Fatalf("%s: of sender %d the numbers from %d on never came", who, s, n)
		}
	}
}

// storm floods from two clients of one node, over two rooms and everybody, and checks what clients of each reader node got.
func storm(t *testing.T, senderNode string, readerNodes []string, ready func(rooms []string), total int) {
	t.Helper()
	kind := freshRoom("storm")
	first, second := freshRoom("first"), freshRoom("second")
	targets := []string{first, second, ""}
	memberships := []struct {
		what  string
		rooms []string
		due   func(n int) bool
	}{
		{"in both rooms", []string{first, second}, func(int) bool { return true }},
		{"in the first room", []string{first}, func(n int) bool { return n%3 != 1 }},
		{"in no room", nil, func(n int) bool { return n%3 == 2 }},
	}
	count := func(due func(int) bool) (n int) {
		for i := 0; i < total; i++ {
			if due(i) {
				n++
			}
		}
		return n
	}
	const senders = 2
	flooders := make([]*client, senders)
	for i := range flooders {
		flooders[i] = dial(t, senderNode)
		flooders[i].join(t, first)
		flooders[i].join(t, second)
	}
	type reader struct {
		what string
		c    *client
		due  func(int) bool
	}
	var readers []reader
	for _, node := range readerNodes {
		for _, m := range memberships {
			c := dial(t, node)
			for _, room := range m.rooms {
				c.join(t, room)
			}
			// The answer to the handshake is here before the server has registered the client.
			c.fence(t)
			readers = append(readers, reader{node + ", " + m.what, c, m.due})
		}
	}
	ready([]string{first, second})
	began := time.Now()
	var wait sync.WaitGroup
	errs := make([]error, senders)
	for i, c := range flooders {
		wait.Add(1)
		go func(i int, c *client) {
			defer wait.Done()
			errs[i] = flood(c, i, targets, kind, total)
		}(i, c)
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range readers {
		r.c.collect(t, kind, senders*count(r.due), loadPatience)
	}
	for _, c := range flooders {
		c.collect(t, kind, senders*total, loadPatience)
	}
	took := time.Since(began)
	// Something may still be on its way twice: what comes behind it tells.
	for _, r := range readers {
		r.c.request(t, "broadcast", `{"type":"`+kind+`-end","payload":1}`)
	}
	deliveries := 0
	for _, r := range readers {
		r.c.collect(t, kind+"-end", len(readers), patience)
		events := r.c.all(kind)
		deliveries += len(events)
		check(t, r.what, events, senders, total, r.due)
	}
	for i, c := range flooders {
		events := c.all(kind)
		deliveries += len(events)
		check(t, fmt.Sprint("sender ", i), events, senders, total, func(int) bool { return true })
	}
	t.Logf("%d broadcasts, %d deliveries in %v: none lost, none doubled, all in order", senders*total, deliveries, took.Round(time.Millisecond))
}

func TestTwentyThousandBroadcasts(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		storm(t, node, []string{node}, func([]string) {}, 10_000)
	})
}

func TestTenThousandPingsAreAnsweredInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		const total = 10_000
		failed := make(chan error, 1)
		go func() {
			for n := 0; n < total; n++ {
				if err := c.conn.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(`{"type":"ping","data":%d,"id":%d}`, n, n))); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		for n, e := range c.collect(t, "pong", total, loadPatience) {
			if string(e.ID) != fmt.Sprint(n) || string(e.Data) != fmt.Sprintf(`{"timestamp":%d}`, n) {
				t.Fatalf("answer %d: %s", n, e.raw)
			}
		}
	})
}

func TestAnswersOfAllKindsKeepTheOrderOfTheirRequests(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		room := quote(freshRoom("order"))
		const rounds = 300
		for n := 0; n < rounds; n++ {
			c.send(t, fmt.Sprintf(`{"type":"ping","id":%d}`, 6*n))
			c.send(t, fmt.Sprintf(`{"type":"join_room","data":{"room":%s},"id":%d}`, room, 6*n+1))
			c.send(t, fmt.Sprintf(`{"type":"broadcast","data":{"room":%s,"type":"own","payload":%d},"id":%d}`, room, n, 6*n+2))
			c.send(t, fmt.Sprintf(`{"type":"nonsense","id":%d}`, 6*n+3))
			c.send(t, fmt.Sprintf(`{"type":"status","id":%d}`, 6*n+4))
			c.send(t, fmt.Sprintf(`{"type":"leave_room","data":{"room":%s},"id":%d}`, room, 6*n+5))
		}
		c.fence(t)
		c.mu.Lock()
		defer c.mu.Unlock()
		next, own := 0, 0
		for _, e := range c.inbox {
			if e.Type == "own" {
				// It comes before its ack.
				if string(e.Data) != fmt.Sprint(own) || next != 6*own+2 {
					t.Fatalf("own message %s after %d answers", e.raw, next)
				}
				own++
			} else if string(e.ID) != fmt.Sprint(next) {
				t.Fatalf("%s came where the answer to %d was due", e.raw, next)
			} else {
				next++
			}
		}
		if next != 6*rounds || own != rounds {
			t.Fatalf("%d answers and %d own messages", next, own)
		}
	})
}

func TestManyClientsComeAndGo(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("crowd")
		watcher := dial(t, node)
		watcher.join(t, room)
		url := address(t, node)
		const workers, each = 16, 15
		errs := make(chan error, workers)
		for w := 0; w < workers; w++ {
			go func() {
				for i := 0; i < each; i++ {
					c, _, err := tryDial(url)
					if err != nil {
						errs <- err
						return
					}
					message := `{"type":"join_room","data":{"room":` + quote(room) + `},"id":1}`
					if err := c.conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
						errs <- err
						return
					}
					if !c.wait(patience, func() bool { return len(c.inbox) > 0 }) {
						errs <- fmt.Errorf("no answer: %v", c.ended)
						return
					}
					c.conn.Close()
				}
				errs <- nil
			}()
		}
		for w := 0; w < workers; w++ {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the room empties", func() bool { return watcher.presence(t, room).Count == 1 })
	})
}
