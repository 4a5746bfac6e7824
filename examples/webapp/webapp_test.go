package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/secure"
)

// work is an archive of little texts and, at its end, two with more work in them,
// so that there is something left when a test interrupts; and of what fails.
func work(t *testing.T, texts int) (data []byte, names []string) {
	t.Helper()
	var pairs []string
	for _, f := range sampleFiles() {
		if texts == 0 || !strings.HasPrefix(f.Name, "texts/") {
			continue
		}
		part := 5
		if texts <= 2 {
			part = 3
		}
		pairs = append(pairs, f.Name, string(f.Data[:len(f.Data)/part]))
		texts--
	}
	pairs = append(pairs, "<script>alert(1)</script>.txt", "Harmless. As it should be.", "broken.bin", "\xff\xfe\x00\x01")
	for i := 0; i < len(pairs); i += 2 {
		names = append(names, pairs[i])
	}
	return zipped(t, pairs...), names
}

func TestAJobOutlivesItsWebProcess(t *testing.T) {
	server := redistest.Start(t)
	addr := freeAddress(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", addr)
	worker := startProcess(t, server.URL(), "-worker-only")
	url, _ := web.serves(1)
	data, names := work(t, 10)
	code, path, page := upload(t, url, "the form", "work.zip", data)
	if code != http.StatusSeeOther {
		t.Fatalf("the upload is answered with %d: %s", code, page)
	}

	// Two browsers follow it, and lose the connection when the process is killed.
	var both sync.WaitGroup
	before := make([]seen, 2)
	enough := make(chan struct{}, len(before))
	for i := range before {
		both.Go(func() {
			told := false
			before[i] = follow(t, url+path, func(s seen) bool {
				if len(s.rows) >= 2 && !told {
					told = true
					enough <- struct{}{}
				}
				return false
			})
		})
	}
	<-enough
	worker.pause() // or the job might end first
	<-enough
	web.kill()
	both.Wait()
	for i, s := range before {
		if s.ended || len(s.rows) == len(names) {
			t.Fatalf("browser %d saw the end before the process was killed: the job has too little work", i)
		}
	}

	// The new process knows nothing, and answers as the old one did.
	web = startProcess(t, server.URL(), "-web-only", "-addr", addr)
	web.serves(1)
	if code, again, page := upload(t, url, "the form", "work.zip", data); code != http.StatusSeeOther || again != path {
		t.Errorf("the same form with the same files leads to %d, %s instead of %s: %s", code, again, path, page)
	}
	worker.resume()
	after := follow(t, url+path, never)
	if !after.ended || after.status.State != done || after.status.Done != len(names) {
		t.Fatalf("the stream of the new process ended with %+v", after.status)
	}
	for call, name := range names {
		shown := strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(name)
		if html := after.rows[call]; !strings.Contains(html, shown) || strings.Contains(html, "<script") {
			t.Errorf("the row of %s is %q", name, html)
		}
		for i, s := range before {
			if html, ok := s.rows[call]; ok && html != after.rows[call] {
				t.Errorf("browser %d saw another report on %s before than after", i, name)
			}
		}
	}
	if html := after.rows[len(names)-1]; !strings.Contains(html, "<strong>Failed:</strong> neither a text") {
		t.Errorf("the row of the file that fails is %q", html)
	}
	if _, page := get(t, url+path); !strings.Contains(page, "1 of 12 files failed.") || strings.Contains(page, ">no report<") {
		t.Errorf("the page afterwards is:\n%s", page)
	}
	web.stop()
}

func TestACanceledJobKeepsWhatWasDone(t *testing.T) {
	server := redistest.Start(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", "127.0.0.1:0")
	startProcess(t, server.URL(), "-worker-only")
	url, _ := web.serves(1)
	data, names := work(t, 10)
	_, path, _ := upload(t, url, "", "work.zip", data)
	canceled := ""
	s := follow(t, url+path, func(s seen) bool {
		if len(s.rows) > 0 && canceled == "" {
			_, canceled, _ = request(t, http.MethodPost, url+path+"/cancel", "", nil)
		}
		return false
	})
	if canceled != path || !s.ended || s.status.State != "canceled" || len(s.rows) == len(names) {
		t.Fatalf("canceling led to %q, and the stream ended with %+v and %d of %d rows", canceled, s.status, len(s.rows), len(names))
	}
	// For a browser that comes later, too, and after a restart.
	web.stop()
	web = startProcess(t, server.URL(), "-web-only", "-addr", "127.0.0.1:0")
	url, _ = web.serves(1)
	_, page := get(t, url+path)
	if !strings.Contains(page, "Canceled.") || strings.Contains(page, `action="`+path) {
		t.Errorf("the page of the canceled job is:\n%s", page)
	}
	if n := strings.Count(page, "to read it"); n < len(s.rows) {
		t.Errorf("the page shows %d reports; %d files were done when the job was canceled", n, len(s.rows))
	}
}

func TestPagesAreHonest(t *testing.T) {
	server := redistest.Start(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", "127.0.0.1:0", "-keep", "100ms")
	url, _ := web.serves(1)
	_, path, _ := upload(t, url, "", "a.txt", []byte("A short text."))

	follow(t, url+path, func(s seen) bool { return s.status.State == unserved })
	if _, page := get(t, url+path); !strings.Contains(page, "No worker is running") || !strings.Contains(page, ">no report<") {
		t.Errorf("without workers the page is:\n%s", page)
	}
	startProcess(t, server.URL(), "-worker-only")
	if s := follow(t, url+path, never); s.status.State != done || !strings.Contains(s.rows[0], "3 words in 1 sentence;") {
		t.Errorf("with a worker the stream ends with %+v, %v", s.status, s.rows)
	}
	until(t, "the results expire", func() bool {
		code, page := get(t, url+path)
		return code == http.StatusGone && strings.Contains(page, "not kept any longer")
	})
	if code, _ := get(t, url+path+"/events"); code != http.StatusGone {
		t.Errorf("the stream of the expired job is answered with %d", code)
	}
	for _, unknown := range []string{"/jobs/" + strings.Repeat("a", idLength), "/jobs/x", "/nowhere"} {
		if code, page := get(t, url+unknown); code != http.StatusNotFound || !strings.Contains(page, "There is no such") {
			t.Errorf("%s is answered with %d:\n%s", unknown, code, page)
		}
	}

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, page := get(t, url+path); code != http.StatusServiceUnavailable || !strings.Contains(page, "Redis does not answer") {
		t.Errorf("without Redis the page is answered with %d:\n%s", code, page)
	}
	server.Restart(t)
}

func TestWhatIsNotWantedIsRefused(t *testing.T) {
	server := redistest.Start(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", "127.0.0.1:0")
	url, _ := web.serves(1)
	for _, c := range []struct {
		data []byte
		code int
		want string
	}{
		{make([]byte, maxUpload+1), http.StatusRequestEntityTooLarge, "more than 32 MiB"},
		{zipped(t, "bomb", strings.Repeat("\x00", maxFile+1)), http.StatusUnprocessableEntity, "bomb: it has more than 4 MiB"},
		{zipped(t), http.StatusUnprocessableEntity, "no file in it"},
	} {
		if code, _, page := upload(t, url, "", "x.zip", c.data); code != c.code || !strings.Contains(page, c.want) {
			t.Errorf("an upload of %d bytes is answered with %d:\n%s", len(c.data), code, page)
		}
	}
	// Another site cannot use a visitor's browser.
	for _, path := range []string{"/sample", "/jobs", "/jobs/x/cancel"} {
		code, _, _ := request(t, http.MethodPost, url+path, "", nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://elsewhere.example")
		if code != http.StatusForbidden {
			t.Errorf("a request to %s by another site is answered with %d", path, code)
		}
	}
	resp, err := visitor.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the content security policy is %q", policy)
	}
}

func TestOneCommandRunsEverything(t *testing.T) {
	addr := freeAddress(t)
	all := startProcess(t, "", "-addr", addr)
	url, pid := all.serves(1)
	_, path, _ := upload(t, url, "", "a.txt", []byte("A short text."))
	if s := follow(t, url+path, never); s.status.State != done {
		t.Fatalf("the stream ended with %+v", s.status)
	}
	// The sample is a long job: only its beginning is waited for here.
	_, path, _ = request(t, http.MethodPost, url+"/sample", "", nil)
	follow(t, url+path, func(s seen) bool { return len(s.rows) > 0 })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, again := all.serves(2); again == pid {
		t.Errorf("the web process was killed, and is said to be %d again", again)
	}
	s := follow(t, url+path, func(s seen) bool { return len(s.rows) > 0 })
	if want := len(sampleFiles()); s.status.Calls != want && s.status.Calls != 0 {
		t.Errorf("after the restart the job has %d files, not %d", s.status.Calls, want)
	}
	all.stop()
	if resp, err := visitor.Get(url); err == nil {
		resp.Body.Close()
		t.Error("the web process still answers after the end")
	}
	if err := run(t.Context(), []string{"-addr", fmt.Sprint(addr, "0000")}); err == nil || !strings.Contains(err.Error(), "-addr names another") {
		t.Errorf("an address that cannot be: %v", err)
	}
}

func TestWithAKeyringJobsAreSigned(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(secure.NewKey("k").Line()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DISTPOOL_KEYRING", keys)
	server := redistest.Start(t)
	web := startProcess(t, server.URL(), "-web-only", "-addr", "127.0.0.1:0")
	startProcess(t, server.URL(), "-worker-only")
	url, _ := web.serves(1)
	_, path, _ := upload(t, url, "", "a.txt", []byte("A short text."))
	if s := follow(t, url+path, never); s.status.State != done {
		t.Fatalf("the stream ended with %+v", s.status)
	}
	rdb := server.Client(t)
	jobs, err := rdb.Keys(t.Context(), "distpool:{*}:job:"+strings.TrimPrefix(path, "/jobs/")).Result()
	if err != nil || len(jobs) != 1 {
		t.Fatalf("the records of %s are %v, %v", path, jobs, err)
	}
	if sig := rdb.HGet(t.Context(), jobs[0], "sig").Val(); sig == "" {
		t.Error("the job is not signed")
	}
	t.Setenv("DISTPOOL_KEYRING", keys+".gone")
	if err := run(t.Context(), []string{"-worker-only"}); err == nil || !strings.Contains(err.Error(), keys+".gone") {
		t.Errorf("a keyring that is not there: %v", err)
	}
}
