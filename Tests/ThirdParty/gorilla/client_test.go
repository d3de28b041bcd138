// Package gorilla talks to running nodes as the clients of the original package do, over gorilla/websocket.
//
// dev/test-clients starts what it needs and names it in the environment.
package gorilla

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// event is one envelope from the server; the parts stay the bytes that came.
type event struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
	ID   json.RawMessage `json:"id"`
	Room *string         `json:"room"`
	raw  string
}

func (e event) String() string { return e.raw }

// into decodes the data.
func (e event) into(t *testing.T, value interface{}) {
	t.Helper()
	if err := json.Unmarshal(e.Data, value); err != nil {
		t.Fatalf("data of %s: %v", e.raw, err)
	}
}

type failure struct {
	Code        string `json:"code"`
	Message     string `json:"message"`
	RequestType string `json:"request_type"`
}

// client is one connection. A goroutine reads all the time, so nothing is ever lost to a slow test.
type client struct {
	conn    *websocket.Conn
	pings   int64
	mu      sync.Mutex
	inbox   []event
	arrived chan struct{}
	broken  error // the server broke a promise about its messages
	ended   error // why the connection is over
}

type option func(*websocket.Dialer, *client, http.Header)

func header(name, value string) option {
	return func(_ *websocket.Dialer, _ *client, h http.Header) { h.Add(name, value) }
}

func subprotocols(names ...string) option {
	return func(d *websocket.Dialer, _ *client, _ http.Header) { d.Subprotocols = names }
}

func offeringCompression() option {
	return func(d *websocket.Dialer, _ *client, _ http.Header) { d.EnableCompression = true }
}

// dial connects to a node, which is named by the variable of the environment that holds its URL.
func dial(t *testing.T, node string, options ...option) *client {
	t.Helper()
	c, _, err := tryDial(address(t, node), options...)
	if err != nil {
		t.Fatalf("connect to %s: %v", node, err)
	}
	t.Cleanup(func() {
		c.conn.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.broken != nil {
			t.Errorf("the server broke a promise: %v", c.broken)
		}
	})
	return c
}

func tryDial(url string, options ...option) (*client, *http.Response, error) {
	c := &client{arrived: make(chan struct{}, 1)}
	dialer := &websocket.Dialer{HandshakeTimeout: patience}
	h := http.Header{}
	for _, o := range options {
		o(dialer, c, h)
	}
	conn, response, err := dialer.Dial(url, h)
	if err != nil {
		return nil, response, err
	}
	c.conn = conn
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		atomic.AddInt64(&c.pings, 1)
		return answer(data)
	})
	go c.read()
	return c, response, nil
}

func environment(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run dev/test-clients", name)
	}
	return value
}

func address(t *testing.T, node string) string {
	t.Helper()
	return environment(t, node)
}

func (c *client) read() {
	for {
		kind, message, err := c.conn.ReadMessage()
		c.mu.Lock()
		if err != nil {
			c.ended = err
		} else if e, wrong := parse(kind, message); wrong != nil {
			c.broken = wrong
		} else {
			c.inbox = append(c.inbox, e)
		}
		c.mu.Unlock()
		select {
		case c.arrived <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// parse checks the promise that one message holds exactly one envelope.
func parse(kind int, message []byte) (event, error) {
	var e event
	if kind != websocket.TextMessage {
		return e, fmt.Errorf("a message of kind %d: %.200q", kind, message)
	}
	decoder := json.NewDecoder(bytes.NewReader(message))
	if err := decoder.Decode(&e); err != nil {
		return e, fmt.Errorf("%v in %.200q", err, message)
	}
	if rest, _ := io.ReadAll(io.MultiReader(decoder.Buffered())); len(rest) > 0 {
		return e, fmt.Errorf("more than one envelope in %.200q", message)
	}
	e.raw = string(message)
	return e, nil
}

func (c *client) send(t *testing.T, message string) {
	t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		t.Fatalf("send %.100s: %v", message, err)
	}
}

// wait blocks until holds says yes (called with the client's lock held) or the time is over.
func (c *client) wait(limit time.Duration, holds func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		yes, over := holds(), c.ended != nil
		c.mu.Unlock()
		if yes {
			return true
		}
		if over {
			return false
		}
		select {
		case <-c.arrived:
		case <-deadline.C:
			return false
		}
	}
}

// take removes the first event that matches from the inbox and returns it.
func (c *client) take(t *testing.T, what string, matches func(event) bool) event {
	t.Helper()
	var found event
	ok := c.wait(patience, func() bool {
		for i, e := range c.inbox {
			if matches(e) {
				found = e
				c.inbox = append(c.inbox[:i:i], c.inbox[i+1:]...)
				return true
			}
		}
		return false
	})
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("no %s; the connection: %v; waiting: %.1000v", what, c.ended, c.inbox)
	}
	return found
}

func (c *client) next(t *testing.T, kind string) event {
	t.Helper()
	return c.take(t, kind, func(e event) bool { return e.Type == kind })
}

func (c *client) answer(t *testing.T, id string) event {
	t.Helper()
	return c.take(t, "answer to "+id, func(e event) bool { return string(e.ID) == id })
}

var requests int64

// request sends a request with an id of its own and returns the answer.
func (c *client) request(t *testing.T, kind, data string) event {
	t.Helper()
	id := fmt.Sprintf(`"r%d"`, atomic.AddInt64(&requests, 1))
	c.send(t, fmt.Sprintf(`{"type":%q,"data":%s,"id":%s}`, kind, data, id))
	return c.answer(t, id)
}

// fails sends a request that must be answered by an error of this code, on a connection that stays.
func (c *client) fails(t *testing.T, code, kind, data string) failure {
	t.Helper()
	e := c.request(t, kind, data)
	return isError(t, e, code)
}

func isError(t *testing.T, e event, code string) failure {
	t.Helper()
	var f failure
	if e.Type != "error" {
		t.Fatalf("an error %s was due, not %.300s", code, e.raw)
	}
	e.into(t, &f)
	if f.Code != code || f.Message == "" {
		t.Fatalf("an error %s with a message was due, not %s", code, e.raw)
	}
	return f
}

func (c *client) join(t *testing.T, room string) {
	t.Helper()
	e := c.request(t, "join_room", `{"room":`+quote(room)+`}`)
	if e.Type != "room_joined" {
		t.Fatalf("join %q: %s", room, e.raw)
	}
}

// fence returns when the server has answered everything that this client asked for before.
func (c *client) fence(t *testing.T) {
	t.Helper()
	if e := c.request(t, "echo", `"fence"`); e.Type != "echo" {
		t.Fatalf("fence: %s", e.raw)
	}
}

// all returns what came of one type, in order, and leaves it there.
func (c *client) all(kind string) []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []event
	for _, e := range c.inbox {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}

// has fails the test when something of this type came.
func (c *client) hasNone(t *testing.T, kind string) {
	t.Helper()
	if found := c.all(kind); len(found) > 0 {
		t.Fatalf("nothing of type %s was due, not %d, the first %s", kind, len(found), found[0].raw)
	}
}

// collect waits until n events of a type have come and returns all of them.
func (c *client) collect(t *testing.T, kind string, n int, limit time.Duration) []event {
	t.Helper()
	seen, count := 0, 0
	ok := c.wait(limit, func() bool {
		for ; seen < len(c.inbox); seen++ {
			if c.inbox[seen].Type == kind {
				count++
			}
		}
		return count >= n
	})
	if !ok {
		c.mu.Lock()
		ended := c.ended
		c.mu.Unlock()
		t.Fatalf("%d of %d events of type %s came within %v; the connection: %v", count, n, kind, limit, ended)
	}
	return c.all(kind)
}

// closeCode waits for the end of the connection and returns the code of the server's close frame, 0 without one.
func (c *client) closeCode(t *testing.T, limit time.Duration) int {
	t.Helper()
	c.wait(limit, func() bool { return c.ended != nil })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		t.Fatalf("still connected after %v", limit)
	}
	var closed *websocket.CloseError
	if errors.As(c.ended, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return closed.Code
	}
	return 0
}

type status struct {
	ClientID           string   `json:"client_id"`
	UserID             *string  `json:"user_id"`
	ConnectedAt        string   `json:"connected_at"`
	ConnectionDuration *float64 `json:"connection_duration"`
	LastHeartbeat      string   `json:"last_heartbeat"`
	NodeID             string   `json:"node_id"`
	Rooms              []string `json:"rooms"`
}

func (c *client) status(t *testing.T) status {
	t.Helper()
	var s status
	e := c.request(t, "status", "null")
	if e.Type != "status" {
		t.Fatalf("status: %s", e.raw)
	}
	e.into(t, &s)
	return s
}

type member struct {
	ClientID string          `json:"client_id"`
	UserID   *string         `json:"user_id"`
	Info     json.RawMessage `json:"info"`
	NodeID   string          `json:"node_id"`
	JoinedAt string          `json:"joined_at"`
	Reason   string          `json:"reason"`
}

type roster struct {
	Room    string   `json:"room"`
	Count   int      `json:"count"`
	Users   int      `json:"users"`
	Members []member `json:"members"`
	Cursor  *string  `json:"cursor"`
}

func (c *client) presence(t *testing.T, room string) roster {
	t.Helper()
	var r roster
	e := c.request(t, "presence", `{"room":`+quote(room)+`}`)
	if e.Type != "presence" {
		t.Fatalf("presence: %s", e.raw)
	}
	e.into(t, &r)
	return r
}

type diff struct {
	Joined []member `json:"joined"`
	Left   []member `json:"left"`
	Count  int      `json:"count"`
	Users  int      `json:"users"`
}

// watch reads presence_diff events of a room until done says that they told enough; joined and left hold who came and went.
func (c *client) watch(t *testing.T, room string, done func(joined, left map[string]member, last diff) bool) {
	t.Helper()
	joined, left := map[string]member{}, map[string]member{}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		e := c.take(t, "presence_diff", func(e event) bool {
			return e.Type == "presence_diff" && e.Room != nil && *e.Room == room
		})
		var d diff
		e.into(t, &d)
		for _, m := range d.Joined {
			joined[m.ClientID] = m
		}
		for _, m := range d.Left {
			left[m.ClientID] = m
		}
		if done(joined, left, d) {
			return
		}
	}
	t.Fatalf("the presence of %s never came to what was due; joined %v, left %v", room, joined, left)
}

func quote(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

var roomNumber int64

// freshRoom is a name that no other test uses.
func freshRoom(name string) string {
	return fmt.Sprintf("%s-%d-%d", name, os.Getpid(), atomic.AddInt64(&roomNumber, 1))
}

// eventually looks again and again until it is so.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("%s: not within %v", what, patience)
}

func redis(t *testing.T, arguments ...string) string {
	t.Helper()
	port := environment(t, "REDIS_PORT")
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, arguments...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v: %s", arguments, err, out)
	}
	return strings.TrimSpace(string(out))
}
