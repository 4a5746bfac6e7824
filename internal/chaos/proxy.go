package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxies makes the links through which processes reach Redis.
type proxies struct {
	server *toxiproxy.ApiServer

	mu    sync.Mutex // guards links
	links []*link
}

func newProxies() *proxies {
	zerolog.SetGlobalLevel(zerolog.Disabled) // its toxics log past the logger that they are given
	return &proxies{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// link is one proxy.
type link struct {
	name  string
	proxy *toxiproxy.Proxy
}

// open makes a link to a server; its address stays the same for good.
func (p *proxies) open(name, upstream string) (*link, error) {
	l := &link{name: name, proxy: toxiproxy.NewProxy(p.server, name, "127.0.0.1:0", upstream)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("opening the proxy of %s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links = append(p.links, l)
	return l, nil
}

// close closes all links.
func (p *proxies) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.proxy.Stop()
	}
}

func (l *link) addr() string { return l.proxy.Listen }

// cut closes all connections, and refuses new ones until join.
func (l *link) cut() { l.proxy.Stop() }

func (l *link) join() error { return l.proxy.Start() }

// toxic disturbs the link until clear. For kind and attributes see toxiproxy.
func (l *link) toxic(kind string, attributes map[string]any) error {
	b, err := json.Marshal(map[string]any{"name": kind, "type": kind, "stream": "downstream", "attributes": attributes})
	if err != nil {
		return err
	}
	_, err = l.proxy.Toxics.AddToxicJson(bytes.NewReader(b))
	return err
}

func (l *link) clear(ctx context.Context) { l.proxy.Toxics.ResetToxics(ctx) }
