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

// browser starts a headless Chromium with a profile of its own, as another person
// would have, which ends with t.
func browser(t *testing.T) context.Context {
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
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience))
	alloc, end := chromedp.NewExecAllocator(limit, opts...)
	t.Cleanup(end)
	tab, end := chromedp.NewContext(alloc, chromedp.WithErrorf(t.Logf))
	t.Cleanup(end)
	if err := chromedp.Run(tab); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	t.Cleanup(func() { _ = chromedp.Cancel(tab) }) // waits until it has let go of its profile
	return tab
}

func do(t *testing.T, tab context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(tab, actions...); err != nil {
		t.Fatal(err)
	}
}

// reports waits until the page has so many of them.
func reports(t *testing.T, tab context.Context, n int) {
	t.Helper()
	until(t, "reports on the page", func() bool {
		var found int
		do(t, tab, chromedp.Evaluate(`document.querySelectorAll("tr.done").length`, &found))
		return found >= n
	})
}

func inState(t *testing.T, tab context.Context, want string) {
	t.Helper()
	do(t, tab, chromedp.WaitVisible(`#job[data-state="`+want+`"]`, chromedp.ByQuery))
}

// shoot keeps a picture of the page where DISTPOOL_SCREENSHOTS names a folder.
func shoot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("DISTPOOL_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	do(t, tab, chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
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
	do(t, one, chromedp.Navigate(url), chromedp.SetUploadFiles("#files", []string{archive}, chromedp.ByQuery))
	shoot(t, one, "home")
	do(t, one, chromedp.Submit("#files", chromedp.ByQuery), chromedp.WaitVisible("#job", chromedp.ByQuery), chromedp.Location(&job),
		chromedp.Evaluate(`window.sameDocument = true`, nil))
	reports(t, one, 2)
	workers.pause() // or the job might end before it is interrupted

	// Another browser, on a phone, by the link.
	do(t, two, chromedp.Emulate(device.IPhone13), chromedp.Navigate(job))
	reports(t, two, 2)
	var wide bool
	do(t, two, chromedp.Evaluate(`document.documentElement.scrollWidth > window.innerWidth`, &wide))
	if wide {
		t.Error("the page is wider than a phone")
	}
	shoot(t, two, "phone")

	// The process ends in the middle; both pages say so, and go on with the next one.
	web.kill()
	for _, page := range []context.Context{one, two} {
		do(t, page, chromedp.WaitVisible("#connection", chromedp.ByQuery))
	}
	shoot(t, one, "lost")
	web = startProcess(t, server.URL(), "-web-only", "-addr", addr)
	web.serves(1)
	for _, page := range []context.Context{one, two} {
		do(t, page, chromedp.WaitNotVisible("#connection", chromedp.ByQuery))
	}
	workers.resume()
	for _, page := range []context.Context{one, two} {
		reports(t, page, len(names)-1)
		inState(t, page, "done")
		do(t, page, chromedp.WaitNotVisible("#cancel", chromedp.ByQuery))
	}
	var same bool
	var failed, marked string
	do(t, one, chromedp.Evaluate(`window.sameDocument === true`, &same), chromedp.Text("tr.failed td:last-child", &failed, chromedp.ByQuery),
		chromedp.Text("#file-14 th", &marked, chromedp.ByQuery))
	if !same {
		t.Error("the page was loaded again on the way")
	}
	if !strings.HasPrefix(failed, "Failed: neither a text") || marked != "<script>alert(1)</script>.txt" {
		t.Errorf("the failed file says %q, and the name with markup is shown as %q", failed, marked)
	}
	shoot(t, one, "done")
	do(t, one, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	shoot(t, one, "dark")

	// Cancel, in one browser; the other one hears of it.
	do(t, one, chromedp.Navigate(url), chromedp.Click("#sample", chromedp.ByQuery), chromedp.WaitVisible("#cancel", chromedp.ByQuery), chromedp.Location(&job))
	do(t, two, chromedp.Navigate(job), chromedp.WaitVisible("#cancel", chromedp.ByQuery))
	reports(t, one, 1)
	reports(t, two, 3)
	shoot(t, one, "running")
	do(t, one, chromedp.Click("#cancel button", chromedp.ByQuery))
	inState(t, one, "canceled")
	inState(t, two, "canceled")
	do(t, two, chromedp.WaitNotVisible("#cancel", chromedp.ByQuery))
	var kept int
	do(t, one, chromedp.Evaluate(`document.querySelectorAll("tr.done").length`, &kept))
	if kept < 3 {
		t.Errorf("the page of the canceled job shows %d reports, of 3 or more that there were", kept)
	}
	shoot(t, one, "canceled")
}
