package redistest

import (
	"fmt"
	"strings"
)

// StartWatcherProcess starts a Sentinel, as StartProcess starts a server, that
// watches the master at addr under the given name, with a quorum of one. addr is a
// host:port, which need not be the master's own: a proxy's will do.
func StartWatcherProcess(dir, name, addr string, opts ...Option) (*Server, error) {
	watch := func(o *options) {
		o.sentinel = true
		o.config = append(o.config, fmt.Sprintf("sentinel monitor %s %s 1", name, strings.Replace(addr, ":", " ", 1)))
	}
	return StartProcess(dir, append([]Option{watch}, opts...)...)
}
