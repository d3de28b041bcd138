package gorilla

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The last test: it ends NODE_C. dev/test-clients looks at the exit code.
func TestTerminatedNodeSaysGoodbye(t *testing.T) {
	pid, err := strconv.Atoi(environment(t, "NODE_C_PID"))
	if err != nil {
		t.Fatal(err)
	}
	room := freshRoom("goodbye")
	watcher := dial(t, "NODE_A")
	watcher.request(t, "join_room", `{"room":`+quote(room)+`,"presence":true}`)
	plain, named := dial(t, "NODE_C"), dial(t, "NODE_C", subprotocols("conduit.v1.json"))
	plain.join(t, room)
	named.join(t, room)
	s := plain.status(t)
	watcher.watch(t, room, func(_, _ map[string]member, last diff) bool { return last.Count == 3 })
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{plain, named} {
		if code := c.closeCode(t, 2*patience); code != 3001 {
			t.Errorf("closed with %d", code)
		}
	}
	named.next(t, "reconnect")
	watcher.watch(t, room, func(_, left map[string]member, last diff) bool {
		return left[s.ClientID].Reason == "disconnected" && last.Count == 1
	})
	host := strings.TrimSuffix(strings.TrimPrefix(address(t, "NODE_C"), "ws://"), "/ws")
	eventually(t, "nobody listens any more", func() bool {
		conn, err := net.Dial("tcp", host)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	prefix := strings.TrimSuffix(channelOf("x"), ":room:{x}")
	eventually(t, "the node's entries are gone", func() bool {
		return redis(t, "EXISTS", prefix+":node:"+s.NodeID) == "0" && redis(t, "ZSCORE", prefix+":nodes", s.NodeID) == ""
	})
}
