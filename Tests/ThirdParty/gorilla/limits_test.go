package gorilla

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// The default limit of one message.
const messageLimit = 512 * 1024

// echoOf is an echo request of exactly n bytes.
func echoOf(n int) string {
	head, tail := `{"type":"echo","id":"big","data":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func TestMessageOfExactlyTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node)
		c.send(t, echoOf(messageLimit))
		if e := c.answer(t, `"big"`); e.Type != "echo" || len(e.Data) < messageLimit-100 {
			t.Fatalf("echo of a message at the limit: %.200s", e.raw)
		}
		c.fence(t)
	})
}

func TestMessageOverTheLimitKillsOnlyItsSender(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		for _, size := range []int{messageLimit + 1, 600 * 1024, 8 << 20} {
			room := freshRoom("big")
			sender, friend, other := dial(t, node), dial(t, node), dial(t, node)
			sender.join(t, room)
			friend.join(t, room)
			// The socket may be closed while we write: what counts is what the server says.
			_ = sender.conn.WriteMessage(websocket.TextMessage, []byte(echoOf(size)))
			if code := sender.closeCode(t, patience); code != 1009 {
				t.Errorf("%d bytes: closed with %d (%v)", size, code, sender.ended)
			}
			other.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"still","payload":1}`)
			friend.next(t, "still")
			other.fence(t)
		}
	})
}

func TestBigBroadcastWithinTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		room := freshRoom("big")
		sender, friend := dial(t, node), dial(t, node)
		sender.join(t, room)
		friend.join(t, room)
		payload := `"` + strings.Repeat("y", 500*1024) + `"`
		sender.request(t, "broadcast", `{"room":`+quote(room)+`,"type":"big","payload":`+payload+`}`)
		for _, c := range []*client{sender, friend} {
			if e := c.next(t, "big"); string(e.Data) != payload {
				t.Errorf("%d bytes came", len(e.Data))
			}
		}
	})
}

func TestFragmentedMessages(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		c := dial(t, node, func(d *websocket.Dialer, _ *client, _ http.Header) { d.WriteBufferSize = 64 })
		fragments := func(message string) error {
			w, err := c.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				return err
			}
			// Small writes through a small buffer become many frames.
			for rest := message; len(rest) > 0; {
				n := 50
				if n > len(rest) {
					n = len(rest)
				}
				if _, err = io.WriteString(w, rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return w.Close()
		}
		message := echoOf(20_000)
		if err := fragments(message); err != nil {
			t.Fatal(err)
		}
		c.answer(t, `"big"`)
		_ = fragments(echoOf(messageLimit + 1))
		if code := c.closeCode(t, patience); code != 1009 {
			t.Errorf("fragments over the limit: closed with %d", code)
		}
	})
}

func TestBinaryAndBrokenMessages(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		for _, row := range []struct {
			what string
			kind int
			data string
			code int
		}{
			{"binary", websocket.BinaryMessage, `{"type":"ping"}`, 1003},
			{"not UTF-8", websocket.TextMessage, "{\"type\":\"ping\",\"data\":\"\xff\"}", 1007},
			{"half a character", websocket.TextMessage, "{\"type\":\"ping\",\"data\":\"\xc3\"}", 1007},
			{"a surrogate", websocket.TextMessage, "\"\xed\xa0\x80\"", 1007},
		} {
			c, other := dial(t, node), dial(t, node)
			if err := c.conn.WriteMessage(row.kind, []byte(row.data)); err != nil {
				t.Fatal(err)
			}
			if code := c.closeCode(t, patience); code != row.code {
				t.Errorf("%s: closed with %d, not %d", row.what, code, row.code)
			}
			other.fence(t)
		}
	})
}

func TestCloseIsAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, node string) {
		for _, code := range []int{1000, 1001, 3999, 4999} {
			c := dial(t, node)
			c.send(t, `{"type":"ping","id":1}`)
			message := websocket.FormatCloseMessage(code, "bye")
			if err := c.conn.WriteMessage(websocket.CloseMessage, message); err != nil {
				t.Fatal(err)
			}
			if got := c.closeCode(t, patience); got != code {
				t.Errorf("close %d was answered with %d", code, got)
			}
			c.answer(t, "1")
		}
	})
}
