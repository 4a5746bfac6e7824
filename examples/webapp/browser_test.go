package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/device"

	"github.com/distpool/distpool/internal/redistest"
)

// window is the page that a browser shows.
type window struct {
	t   *testing.T
	tab context.Context
}

// browser starts a headless Chromium with a profile of its own, as another person
// would have, which ends with t.
func browser(t *testing.T) window {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("DISTPOOL_REQUIRE_CHROMIUM") != "" {
			t.Fatal("there is no chromium in PATH, which DISTPOOL_REQUIRE_CHROMIUM demands")
		}
		t.Skip("there is no chromium in PATH: install it to test in a browser (Debian: apt-get install chromium)")
	}
	limit, end := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(end)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience))
	alloc, end := chromedp.NewExecAllocator(limit, opts...)
	t.Cleanup(end)
	tab, end := chromedp.NewContext(alloc, chromedp.WithErrorf(t.Logf))
	t.Cleanup(end)
	if err := chromedp.Run(tab); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	t.Cleanup(func() { _ = chromedp.Cancel(tab) }) // waits until it has let go of its profile
	return window{t, tab}
}

func (w window) do(actions ...chromedp.Action) {
	w.t.Helper()
	if err := chromedp.Run(w.tab, actions...); err != nil {
		w.t.Fatal(err)
	}
}

// reports waits until the page has so many of them.
func (w window) reports(n int) {
	w.t.Helper()
	until(w.t, "reports on the page", func() bool {
		var found int
		w.do(chromedp.Evaluate(`document.querySelectorAll("tr.done").length`, &found))
		return found >= n
	})
}

func (w window) inState(want string) {
	w.t.Helper()
	w.do(chromedp.WaitVisible(`#job[data-state="`+want+`"]`, chromedp.ByQuery))
}

// shoot keeps a picture of the page where DISTPOOL_SCREENSHOTS names a folder.
func (w window) shoot(name string) {
	w.t.Helper()
	dir := os.Getenv("DISTPOOL_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	w.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestInABrowser(t *testing.T) {
	one, two := browser(t), browser(t)
	server := redistest.Start(t)
	addr := freeAddress(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", addr)
	workers := startProcess(t, server.URL(), "-worker-only", "-slots", "2")
	url, _ := web.serves(1)
	data, names := work(t, 14)
	archive := filepath.Join(t.TempDir(), "work.zip")
	if err := os.WriteFile(archive, data, 0o600); err != nil {
		t.Fatal(err)
	}

	// Upload, and progress without loading the page again.
	var job string
	one.do(chromedp.Navigate(url), chromedp.SetUploadFiles("#files", []string{archive}, chromedp.ByQuery))
	one.shoot("home")
	one.do(chromedp.Submit("#files", chromedp.ByQuery), chromedp.WaitVisible("#job", chromedp.ByQuery), chromedp.Location(&job),
		chromedp.Evaluate(`window.sameDocument = true`, nil))
	one.reports(2)
	workers.pause() // or the job might end before it is interrupted

	// Another browser, on a phone, by the link.
	two.do(chromedp.Emulate(device.IPhone13), chromedp.Navigate(job))
	two.reports(2)
	var wide bool
	two.do(chromedp.Evaluate(`document.documentElement.scrollWidth > window.innerWidth`, &wide))
	if wide {
		t.Error("the page is wider than a phone")
	}
	two.shoot("phone")

	// The process ends in the middle; both pages say so, and go on with the next one.
	web.kill()
	for _, page := range []window{one, two} {
		page.do(chromedp.WaitVisible("#connection", chromedp.ByQuery))
	}
	one.shoot("lost")
	web = startProcess(t, server.URL(), "-web-only", "-addr", addr)
	web.serves(1)
	for _, page := range []window{one, two} {
		page.do(chromedp.WaitNotVisible("#connection", chromedp.ByQuery))
	}
	workers.resume()
	for _, page := range []window{one, two} {
		page.reports(len(names) - 1)
		page.inState("done")
		page.do(chromedp.WaitNotVisible("#cancel", chromedp.ByQuery))
	}
	var same bool
	var failed, marked string
	one.do(chromedp.Evaluate(`window.sameDocument === true`, &same), chromedp.Text("tr.failed td:last-child", &failed, chromedp.ByQuery),
		chromedp.Text("#file-14 th", &marked, chromedp.ByQuery))
	if !same {
		t.Error("the page was loaded again on the way")
	}
	if !strings.HasPrefix(failed, "Failed: neither a text") || marked != "<script>alert(1)</script>.txt" {
		t.Errorf("the failed file says %q, and the name with markup is shown as %q", failed, marked)
	}
	one.shoot("done")
	one.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	one.shoot("dark")

	// Cancel, in one browser; the other one hears of it.
	one.do(chromedp.Navigate(url), chromedp.Click("#sample", chromedp.ByQuery), chromedp.WaitVisible("#cancel", chromedp.ByQuery), chromedp.Location(&job))
	two.do(chromedp.Navigate(job), chromedp.WaitVisible("#cancel", chromedp.ByQuery))
	one.reports(1)
	two.reports(3)
	one.shoot("running")
	one.do(chromedp.Click("#cancel button", chromedp.ByQuery))
	one.inState("canceled")
	two.inState("canceled")
	two.do(chromedp.WaitNotVisible("#cancel", chromedp.ByQuery))
	var kept int
	one.do(chromedp.Evaluate(`document.querySelectorAll("tr.done").length`, &kept))
	if kept < 3 {
		t.Errorf("the page of the canceled job shows %d reports, of 3 or more that there were", kept)
	}
	one.shoot("canceled")
}
