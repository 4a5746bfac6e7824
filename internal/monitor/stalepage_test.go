package monitor

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/distpool/distpool/internal/redistest"
)

// shown is what the page says about how it is.
type shown struct {
	Pulse, Notice string
	Page          bool // it has its live part
}

func (b *browser) shown(t *testing.T) (s shown) {
	t.Helper()
	const look = `(() => { const n = document.getElementById("stale"), p = document.getElementById("pulse"); return {
		Pulse: p ? p.textContent : "", Notice: n && !n.hidden ? n.innerText : "", Page: document.getElementById("live") !== null } })()`
	if err := chromedp.Run(b.ctx, chromedp.Evaluate(look, &s)); b.ctx.Err() != nil {
		t.Fatal(err) // another error is a page that is just being left
	}
	return s
}

func (b *browser) isLive(t *testing.T) bool {
	t.Helper()
	return b.shown(t) == shown{Pulse: "live", Page: true}
}

func TestAnOpenPageSaysThatItIsStaleAndSinceWhen(t *testing.T) {
	for name, of := range map[string]func(*testing.T, *redistest.Server) (f fault, addr string){
		"SIGSTOP": func(_ *testing.T, s *redistest.Server) (fault, string) { return stopped(s), s.Addr() },
		"SIGKILL": func(_ *testing.T, s *redistest.Server) (fault, string) { return killed(s), s.Addr() },
		"restart": func(_ *testing.T, s *redistest.Server) (fault, string) { return restarted(s), s.Addr() },
		"slow": func(t *testing.T, s *redistest.Server) (fault, string) {
			t.Helper()
			return slowed(t, s.Addr(), 3*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, addr := of(t, redistest.Start(t))
			s := serve(t, clientOf(t, addr))
			b := openBrowser(t)
			inTime(t, func() []time.Duration { return b.whileOpen(t, s.url, "Redis ", f) })
			inTime(t, func() []time.Duration { return b.whileLoading(t, s, f) })
		})
	}
}

// Nothing comes any more, and nothing is said to be wrong.
func TestAnOpenPageOfAMonitorOutOfReachIsStale(t *testing.T) {
	t.Parallel()
	s := serve(t, redistest.Start(t).Client(t))
	f, addr := slowed(t, strings.TrimPrefix(s.url, "http://"), time.Hour)
	b := openBrowser(t)
	inTime(t, func() []time.Duration { return b.whileOpen(t, "http://"+addr, "The monitor ", f) })
}

// whileOpen has the fault happen while a page is open. What the page says begins with
// the words.
func (b *browser) whileOpen(t *testing.T, address, words string, f fault) []time.Duration {
	t.Helper()
	b.run(t, "open", chromedp.Navigate(address+"/workers"))
	until(t, "the page is live", func() bool { return b.isLive(t) })
	b.shootAll(t, "live")
	f.hurt(t)
	hurt := time.Now()
	var now shown
	toStale := until(t, "the page says that it is stale", func() bool {
		now = b.shown(t)
		return now.Pulse == "stale" && now.Notice != ""
	})
	stamp, why, _ := strings.Cut(strings.TrimPrefix(now.Notice, "Stale since "), " UTC. ")
	since, err := time.Parse(time.DateTime, stamp)
	if err != nil || since.After(hurt.Add(time.Second)) || hurt.Sub(since) > soon || !strings.HasPrefix(why, words) {
		t.Errorf("the fault is of %v, the page says %q", hurt.UTC(), now.Notice)
	}
	b.shootAll(t, "stale")
	f.heal(t)
	toLive := until(t, "the page is live again", func() bool { return b.isLive(t) })
	b.shootAll(t, "recovered")
	return []time.Duration{toStale, toLive}
}

// whileLoading has a page loaded during the fault. It cannot be read, says so, and
// comes by itself.
func (b *browser) whileLoading(t *testing.T, s site, f fault) []time.Duration {
	t.Helper()
	f.hurt(t)
	began := time.Now()
	b.run(t, "load a page", chromedp.Navigate(s.url+"/jobs"))
	load := time.Since(began)
	b.sees(t, "Redis cannot be read")
	b.shootAll(t, "unread")
	f.heal(t)
	return []time.Duration{load, until(t, "the page that could not be read is there", func() bool { return b.isLive(t) })}
}
