package monitor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

const (
	// envRequireChromium turns a missing Chromium from a skipped test into a failed
	// one.
	envRequireChromium = "DISTPOOL_REQUIRE_CHROMIUM"
	// envScreenshots names a folder to which the test saves what it sees.
	envScreenshots = "DISTPOOL_SCREENSHOTS"
)

// browser is a headless Chromium with one page, and what went wrong in it.
type browser struct {
	ctx context.Context

	mu     sync.Mutex // guards errors
	errors []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		const msg = "no chromium in PATH; install one (Debian: apt-get install chromium) to test the pages in a browser"
		if os.Getenv(envRequireChromium) != "" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, // its profile is a temporary one, which chromedp removes
		chromedp.Flag("disable-quic", true), chromedp.NoFirstRun, chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(patience))...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.errors = append(b.errors, "exception: "+ev.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.LevelError {
				b.errors = append(b.errors, ev.Entry.Text+" "+ev.Entry.URL)
			}
		case *cdp.EventJavascriptDialogOpening:
			b.errors = append(b.errors, "dialog: "+ev.Message)
		}
	})
	b.run(t, "open the browser", log.Enable(), runtime.Enable(), cdp.Enable(), chromedp.EmulateViewport(1200, 900))
	return b
}

func (b *browser) run(t *testing.T, what string, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		var body, at string
		_ = chromedp.Run(b.ctx, chromedp.Location(&at), chromedp.Text("body", &body, chromedp.ByQuery))
		t.Fatalf("%s: %v\nat %s the page says: %.2000s", what, err, at, body)
	}
}

// sees waits until the page has the text.
func (b *browser) sees(t *testing.T, what string) {
	t.Helper()
	expr := fmt.Sprintf("document.body !== null && document.body.innerText.includes(%q)", what)
	eventually(t, "the page shows "+what, func() bool {
		var shown bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate(expr, &shown))
		if b.ctx.Err() != nil {
			t.Fatal(err)
		}
		return err == nil && shown // an error is a page that is just being left
	})
}

// faults are the errors so far, which are forgotten.
func (b *browser) faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := b.errors
	b.errors = nil
	return errs
}

// shoot saves a screenshot, if somebody wants to look at it.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv(envScreenshots)
	if dir == "" {
		return
	}
	var data []byte
	b.run(t, "screenshot", chromedp.FullScreenshot(&data, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o600); err != nil {
		t.Error(err)
	}
}

// shootAll looks at a page in light, in dark and on a phone, where it must fit.
func (b *browser) shootAll(t *testing.T, name string) {
	t.Helper()
	scheme := func(s string) chromedp.Action {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s}})
	}
	b.run(t, "light", scheme("light"))
	b.shoot(t, name+"-light")
	b.run(t, "dark", scheme("dark"))
	b.shoot(t, name+"-dark")
	b.run(t, "phone", scheme("light"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.shoot(t, name+"-phone")
	var wide int
	b.run(t, "width", chromedp.Evaluate("document.documentElement.scrollWidth", &wide))
	if wide > 390 {
		t.Errorf("%s is %d pixels wide on a phone of 390", name, wide)
	}
	b.run(t, "back", chromedp.EmulateViewport(1200, 900))
}

func TestInABrowserJobsAreWatchedCanceledAndFoundInAsynqmon(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := startFleet(t, rdb)
	fill(t, p)
	held, err := producer.MapAsync(t.Context(), p, holding, make([]int, 40), producer.ChunkSize(2))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, rdb, writable, withToken)
	b := openBrowser(t)

	b.run(t, "log in", chromedp.Navigate(s.url+"/jobs?task=holding"), chromedp.WaitVisible(`input[name=token]`, chromedp.ByQuery))
	b.shootAll(t, "login")
	b.faults() // the answer 401 is one of them
	b.run(t, "send the token", chromedp.SendKeys(`input[name=token]`, testToken+"\r", chromedp.ByQuery), chromedp.WaitVisible(link(held.ID()), chromedp.ByQuery))
	b.sees(t, "live")
	b.run(t, "all jobs", chromedp.Navigate(s.url+"/jobs"))
	b.sees(t, "running")
	b.shootAll(t, "jobs")

	b.run(t, "open the job", chromedp.Click(link(held.ID()), chromedp.ByQuery), chromedp.WaitVisible("#cancel", chromedp.ByID))
	b.sees(t, "Running chunks")
	b.shootAll(t, "running")
	// The page changes by itself: nothing is loaded again.
	b.run(t, "mark the page", chromedp.Evaluate("window.marked = true", nil), chromedp.Focus("#pause", chromedp.ByID))
	b.run(t, "cancel", chromedp.Click("#cancel", chromedp.ByID))
	b.sees(t, "canceled by an operator")
	b.shootAll(t, "canceled")
	if _, err := held.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "cancel") {
		t.Errorf("the job's handle says %v, want that it was canceled", err)
	}

	var id string
	b.run(t, "a job with failures", chromedp.Navigate(s.url+"/jobs?task=failing"), chromedp.Click("table.jobs a", chromedp.ByQuery), chromedp.WaitVisible("#failed", chromedp.ByID), chromedp.Text(".crumbs .id", &id, chromedp.ByQuery))
	b.sees(t, "no good")
	b.shootAll(t, "failed")
	for _, path := range []string{"/workers", "/throughput"} {
		b.run(t, path, chromedp.Navigate(s.url+path))
		b.sees(t, "slots busy")
		b.sees(t, "live")
		b.shootAll(t, path[1:])
	}
	if errs := b.faults(); len(errs) > 0 {
		t.Errorf("the browser complains about our pages: %q", errs)
	}

	b.run(t, "asynqmon", chromedp.Navigate(s.url+"/asynqmon/"))
	b.run(t, "asynqmon's queue", chromedp.Click(`a[href="/asynqmon/queues/distpool"]`, chromedp.ByQuery))
	b.sees(t, "Archived")
	b.shoot(t, "asynqmon-queue")
	b.run(t, "archived tasks", chromedp.Navigate(s.url+"/asynqmon/queues/distpool?status=archived"))
	b.sees(t, "no good")
	b.shoot(t, "asynqmon-archived")
	b.run(t, "a task", chromedp.Click("tbody tr", chromedp.ByQuery))
	b.sees(t, "arguments:")
	b.shoot(t, "asynqmon-task")
	b.run(t, "back", chromedp.Click(`a[href="/jobs"]`, chromedp.ByQuery), chromedp.WaitVisible("table.jobs", chromedp.ByQuery))
	for _, e := range b.faults() {
		// Its fonts from elsewhere are not loaded, on purpose. Browsers ask for its
		// manifest without the cookie.
		if !strings.Contains(e, "fonts.googleapis.com") && !strings.Contains(e, "/asynqmon/manifest.json") {
			t.Errorf("the browser complains about asynqmon: %s", e)
		}
	}
}

func TestALivePageMovesByItselfAndKeepsFocus(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := startFleet(t, rdb)
	s := serve(t, rdb)
	b := openBrowser(t)
	held, err := producer.ApplyAsync(t.Context(), p, holding, 1)
	if err != nil {
		t.Fatal(err)
	}
	b.run(t, "open", chromedp.Navigate(s.url+"/jobs"), chromedp.WaitVisible(link(held.ID()), chromedp.ByQuery),
		chromedp.Focus(link(held.ID()), chromedp.ByQuery), chromedp.Evaluate("window.marked = 1", nil))
	b.sees(t, "live")
	if err := held.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	more, err := producer.ApplyAsync(t.Context(), p, quick, 1)
	if err != nil {
		t.Fatal(err)
	}
	b.run(t, "see the next job", chromedp.WaitVisible(link(more.ID()), chromedp.ByQuery))
	b.sees(t, "canceled")
	var focus string
	var marked bool
	b.run(t, "look", chromedp.Evaluate("document.activeElement.id", &focus), chromedp.Evaluate("window.marked === 1", &marked))
	if focus != "j-"+held.ID() || !marked {
		t.Errorf("after an update the focus is on %q, and the page is the same: %t", focus, marked)
	}
	b.run(t, "pause", chromedp.Click("#pause", chromedp.ByID))
	b.sees(t, "paused")
	eventually(t, "nothing is watched, and nothing is read any more", s.live.Idle)
	if errs := b.faults(); len(errs) > 0 {
		t.Errorf("the browser complains: %q", errs)
	}
}

// link selects the link to a job in the list.
func link(id string) string { return fmt.Sprintf(`[id="j-%s"]`, id) }

// fill makes jobs of all kinds.
func fill(t *testing.T, p *producer.Pool) {
	t.Helper()
	ctx := t.Context()
	if _, err := producer.Map(ctx, p, quick, make([]int, 2000), producer.ChunkSize(10)); err != nil {
		t.Fatal(err)
	}
	args := make([]string, 30)
	for i := range args {
		args[i] = fmt.Sprintf("<img src=x onerror=alert(%d)>", i)
	}
	_, _ = producer.Map(ctx, p, failing, args, producer.ChunkSize(3))
	_, _ = producer.Apply(ctx, p, panicking, "<script>alert('boo')</script>")
	for i := range 5 {
		if _, err := producer.Apply(ctx, p, quick, i); err != nil {
			t.Fatal(err)
		}
	}
}
