package gorilla

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// NODE_C pings every second and closes after four seconds without a sign of life.

func TestProtocolPingsArriveAndKeepAClientAlive(t *testing.T) {
	c := dial(t, "NODE_C")
	// gorilla's own handler answers them; this client says nothing else.
	eventually(t, "five pings", func() bool { return atomic.LoadInt64(&c.pings) >= 5 })
	c.fence(t)
}

func TestASilentClientIsClosed(t *testing.T) {
	began := time.Now()
	c := dial(t, "NODE_C")
	c.conn.SetPingHandler(func(string) error { atomic.AddInt64(&c.pings, 1); return nil })
	if code := c.closeCode(t, patience); code != 3012 {
		t.Fatalf("closed with %d", code)
	}
	if took := time.Since(began); took < 3500*time.Millisecond {
		t.Errorf("closed after %v, not after about four seconds", took)
	}
	if atomic.LoadInt64(&c.pings) == 0 {
		t.Error("closed without having been pinged")
	}
}

func TestAMessageIsASignOfLife(t *testing.T) {
	c := dial(t, "NODE_C")
	c.conn.SetPingHandler(func(string) error { return nil })
	for began := time.Now(); time.Since(began) < 9*time.Second; time.Sleep(500 * time.Millisecond) {
		c.send(t, `{"type":"pong"}`)
	}
	c.fence(t)
}

func TestTheServerAnswersProtocolPings(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		pongs := make(chan string, 10)
		c.conn.SetPongHandler(func(data string) error { pongs <- data; return nil })
		for _, data := range []string{"", "hello", string(make([]byte, 125))} {
			if err := c.conn.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-pongs:
				if got != data {
					t.Errorf("pong %q for %q", got, data)
				}
			case <-time.After(patience):
				t.Fatal("no pong")
			}
		}
	})
}

func TestClientsThatVanishLeaveTheirRooms(t *testing.T) {
	room := freshRoom("vanish")
	watcher := dial(t, "NODE_A")
	watcher.join(t, room)
	c := dial(t, "NODE_C")
	c.join(t, room)
	eventually(t, "two members", func() bool { return watcher.presence(t, room).Count == 2 })
	// It neither closes nor answers.
	c.conn.SetPingHandler(func(string) error { return nil })
	eventually(t, "one member", func() bool { return watcher.presence(t, room).Count == 1 })
}
