package gate

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// failuresPerMinute is how many wrong tokens a client may send in a minute. For
	// the rest of it, no token of this client is looked at.
	failuresPerMinute = 30
	// maxGuessers is how many clients with wrong tokens are remembered. Beyond it, some
	// are forgotten: a crowd of guessers must not lock out others.
	maxGuessers = 4096
)

// guesses counts wrong tokens of each client. The zero value is ready.
type guesses struct {
	mu     sync.Mutex // guards all below
	minute int64
	wrong  map[netip.Addr]int
}

// try calls right unless the client has sent too many wrong tokens, and counts one
// more if it is false.
func (g *guesses) try(client netip.Addr, right func() bool) (ok, tooMany bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now().Unix() / 60; now != g.minute || g.wrong == nil {
		g.minute, g.wrong = now, map[netip.Addr]int{}
	}
	switch n, known := g.wrong[client]; {
	case n >= failuresPerMinute:
		return false, true
	case right():
		return true, false
	case !known && len(g.wrong) >= maxGuessers:
		for other := range g.wrong { // any
			delete(g.wrong, other)
			break
		}
	}
	g.wrong[client]++
	return false, false
}

// retryAfter is the number of seconds until try listens again.
func (g *guesses) retryAfter() int64 { return 60 - time.Now().Unix()%60 }

// addressOf is where the request comes from. Of an IPv6 address it is the network of
// 64 bits, which is one client's. Only a proxy that is trusted may name another
// address than its own.
func addressOf(r *http.Request, proxies []netip.Prefix) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	trusted := func() bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for len(hops) > 0 && trusted() {
		hop := parseAddr(strings.TrimSpace(hops[len(hops)-1]))
		if !hop.IsValid() {
			break
		}
		addr, hops = hop, hops[:len(hops)-1]
	}
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) netip.Addr {
	if both, err := netip.ParseAddrPort(s); err == nil {
		return both.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone("")
}

// ParseProxies reads addresses and networks of proxies, such as 10.0.0.7 and
// 10.1.0.0/16.
func ParseProxies(words []string) ([]netip.Prefix, error) {
	proxies := make([]netip.Prefix, len(words))
	for i, word := range words {
		network, err := netip.ParsePrefix(word)
		if err != nil {
			addr, aerr := netip.ParseAddr(word)
			if aerr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network; use one such as 10.0.0.7 or 10.1.0.0/16", word)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		proxies[i] = network
	}
	return proxies, nil
}
