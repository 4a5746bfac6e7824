package combine

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

var echo = redis.NewScript("return ARGV[1]")

// gate notes round trips by the number of their commands, and holds those back whose
// first command it is asked to.
type gate struct {
	mu    sync.Mutex
	trips []int
	hold  chan struct{} // nil: nothing is held back
	held  chan struct{} // gets one for each round trip that is held back
}

func (g *gate) pass(n int) {
	g.mu.Lock()
	g.trips = append(g.trips, n)
	hold := g.hold
	g.hold = nil
	g.mu.Unlock()
	if hold != nil {
		g.held <- struct{}{}
		<-hold
	}
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.pass(1)
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.pass(len(cmds))
		return next(ctx, cmds)
	}
}

func open(t *testing.T) (*Client, *gate) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := echo.Load(t.Context(), rdb).Err(); err != nil {
		t.Fatal(err)
	}
	g := &gate{held: make(chan struct{}, 1)}
	rdb.AddHook(g)
	return New(rdb), g
}

// holdNext makes the next round trip wait until release is called.
func (g *gate) holdNext() (release func()) {
	hold := make(chan struct{})
	g.mu.Lock()
	g.hold = hold
	g.mu.Unlock()
	return func() { close(hold) }
}

// waitGathered waits until n commands wait for company.
func waitGathered(t *testing.T, c *Client, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		c.mu.Lock()
		got := len(c.gathered)
		c.mu.Unlock()
		if got == n {
			return
		}
	}
}

func TestALoneCallerGoesDirectly(t *testing.T) {
	c, g := open(t)
	for range 3 {
		if v, err := echo.Run(t.Context(), c, []string{"k"}, "x").Text(); err != nil || v != "x" {
			t.Fatalf("%q, %v", v, err)
		}
	}
	if len(g.trips) != 3 || c.flushing || c.busy != 0 {
		t.Errorf("the round trips are %v, want 3 of one command; busy %d", g.trips, c.busy)
	}
}

func TestCallersThatComeMeanwhileShareOneRoundTripAndGetTheirOwnReplies(t *testing.T) {
	c, g := open(t)
	release := g.holdNext()
	var wg sync.WaitGroup
	call := func(s string) {
		wg.Go(func() {
			if v, err := echo.Run(t.Context(), c, []string{"k"}, s).Text(); err != nil || v != s {
				t.Errorf("%q comes back as %q, %v", s, v, err)
			}
		})
	}
	call("first")
	<-g.held
	// The second finds the first under way, and has the flushing begin.
	second := g.holdNext()
	call("second")
	<-g.held
	const n = 50
	for i := range n {
		call(strings.Repeat("x", i+1))
	}
	waitGathered(t, c, n)
	release()
	second()
	wg.Wait()
	if !slices.Contains(g.trips, n) { // new connections make some of their own
		t.Errorf("the round trips are of %v commands, want one of %d", g.trips, n)
	}
}

func TestAnEndedContextLetsItsCallerGoAndHarmsNobodyElse(t *testing.T) {
	c, g := open(t)
	release := g.holdNext()
	var wg sync.WaitGroup
	wg.Go(func() { _ = echo.Run(t.Context(), c, []string{"k"}, "first").Err() })
	<-g.held
	second := g.holdNext()
	wg.Go(func() { _ = echo.Run(t.Context(), c, []string{"k"}, "second").Err() })
	<-g.held
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error, 1)
	go func() { left <- echo.Run(ctx, c, []string{"k"}, "third").Err() }()
	waitGathered(t, c, 1)
	wg.Go(func() {
		if v, err := echo.Run(t.Context(), c, []string{"k"}, "fourth").Text(); err != nil || v != "fourth" {
			t.Errorf("fourth: %q, %v", v, err)
		}
	})
	waitGathered(t, c, 2)
	cancel(gone)
	if err := <-left; !errors.Is(err, gone) {
		t.Errorf("the third caller's error is %v, want its context's cause", err)
	}
	release()
	second()
	wg.Wait()
}

func TestAScriptThatTheServerLacksIsSentWithItsSource(t *testing.T) {
	c, _ := open(t)
	unknown := redis.NewScript("return 'here ' .. ARGV[1]")
	if v, err := unknown.Run(t.Context(), c, []string{"k"}, "x").Text(); err != nil || v != "here x" {
		t.Errorf("%q, %v", v, err)
	}
}

func TestALargeScriptCallGoesAlone(t *testing.T) {
	c, g := open(t)
	release := g.holdNext()
	var wg sync.WaitGroup
	wg.Go(func() { _ = echo.Run(t.Context(), c, []string{"k"}, "first").Err() })
	<-g.held
	large := strings.Repeat("x", Large+1)
	if v, err := echo.Run(t.Context(), c, []string{"k"}, large).Text(); err != nil || v != large {
		t.Errorf("%d bytes, %v", len(v), err)
	}
	release()
	wg.Wait()
}

func TestGoCallsBackWithTheReply(t *testing.T) {
	c, _ := open(t)
	cmd, _ := Script(t.Context(), echo.Hash(), []string{"k"}, "x")
	done := make(chan struct{})
	c.Go(cmd, func() { close(done) })
	<-done
	if v, err := cmd.Text(); err != nil || v != "x" {
		t.Errorf("%q, %v", v, err)
	}
}
