package monitor

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// jobID finds the newest job of a task.
func (s site) jobID(t *testing.T, task string) string {
	t.Helper()
	var id string
	eventually(t, "a job of "+task+" is listed", func() bool {
		body := s.get(t, "/jobs?task="+task)
		if _, rest, ok := strings.Cut(body, `href="/jobs/`); ok {
			id, _, _ = strings.Cut(rest, `"`)
		}
		return id != ""
	})
	return id
}

func TestHostileArgumentsBreakNoPage(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		const evil = `</pre><script>alert("x")</script><img src=x onerror=alert(1)>` + "\x00\x1b[31m"
		megabyte := strings.Repeat(`<script>alert(1)</script>`, 1<<20/25)
		_, _ = producer.Map(t.Context(), p, failing, []string{evil, megabyte, "\u202e\u2028"})
		_, _ = producer.Apply(t.Context(), p, panicking, megabyte+evil)
		s := serve(t, rdb)
		for _, task := range []string{"failing", "panicking"} {
			id := s.jobID(t, task)
			page := s.get(t, "/jobs/"+id)
			if len(page) > 100<<10 {
				t.Errorf("the page has %d bytes", len(page))
			}
			wantNotIn(t, page, "<script>alert")
			wantNotIn(t, page, "<img")
			wantIn(t, page, "&lt;script&gt;")
			wantIn(t, page, "</html>")
		}
		// A chunk with failed calls is in asynq's archive.
		api := s.get(t, "/asynqmon/api/queues/distpool/archived_tasks")
		if !json.Valid([]byte(api)) || len(api) > 100<<10 {
			t.Errorf("asynqmon answers %d bytes, valid: %t", len(api), json.Valid([]byte(api)))
		}
		wantIn(t, api, "arguments: ")
		// What comes in the address must not get out of it.
		page := s.get(t, "/jobs?task="+url.QueryEscape(`"><script>alert(1)</script>`)+"&from="+url.QueryEscape(evil)+"&status=<b>")
		wantNotIn(t, page, "<script>alert")
		wantNotIn(t, page, "<b>")
		for _, id := range []string{"q/%3Cscript%3E", "%3Cscript%3E/x", "q/a%2Fb", "q/..%2f..", "..%2f../x", "q/" + strings.Repeat("x", 300), strings.Repeat("x", 300) + "/x"} {
			if resp, body := s.do(t, http.MethodGet, "/jobs/"+id, nil, "Accept", "text/html"); resp.StatusCode != http.StatusNotFound {
				t.Errorf("job %s answers %s: %.200s", id, resp.Status, body)
			} else {
				wantNotIn(t, body, "<script>")
			}
		}
	})
}

func TestPayloadsAreHiddenEverywhereWhenAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		const secret = "xyzzy-secret"
		p := startFleet(t, rdb)
		_, _ = producer.Map(t.Context(), p, failing, []string{secret, "other"})
		_, _ = producer.Apply(t.Context(), p, panicking, secret)
		if _, err := producer.ApplyAsync(t.Context(), p, failing, secret, producer.Queue("nobody")); err != nil {
			t.Fatal(err)
		}
		open, s := serve(t, rdb), serve(t, rdb, hiding)
		paths := []string{
			"/jobs", "/workers", "/throughput", "/jobs/" + s.jobID(t, "failing"), "/jobs/" + s.jobID(t, "panicking"),
			"/asynqmon/api/queues/distpool/archived_tasks", "/asynqmon/api/queues/nobody/pending_tasks", "/asynqmon/api/servers",
			"/asynqmon/api/queues/distpool/tasks/" + path.Base(s.jobID(t, "panicking")) + ":0:1",
		}
		shown := 0
		for _, path := range paths {
			wantNotIn(t, s.get(t, path), secret)
			if strings.Contains(open.get(t, path), secret) {
				shown++
			}
		}
		if shown < 4 {
			t.Errorf("only %d pages show the secret when it is not hidden: this test looks at the wrong ones", shown)
		}
		wantIn(t, s.get(t, "/asynqmon/api/queues/distpool/archived_tasks"), hidden)
		wantIn(t, s.get(t, "/jobs/"+s.jobID(t, "panicking")), hidden)
	})
}

// What is encrypted is shown to those who run the monitor with its keys, and nobody
// else; and hidden, if payloads are.
func TestEncryptedPayloadsAreShownWithTheirKeyOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		const secret = "xyzzy-secret"
		ring := secure.Keyring{Sign: secure.NewKey("mine")}
		sealed := failing.With(tasks.WithCodec(secure.Encrypt(tasks.JSON, secure.From(ring))))
		p := fleettest.Start(t, rdb, sealed)
		var job string
		for _, opts := range [][]producer.Option{{producer.ChunkSize(1)}, {producer.ID("Chosen"), producer.ChunkSize(2)}} {
			m, err := producer.MapAsync(t.Context(), p, sealed, []string{"first", secret, "third"}, opts...)
			if err != nil {
				t.Fatal(err)
			}
			_ = m.Wait(t.Context())
			if job == "" {
				job = m.ID()
			}
		}
		if _, err := producer.ApplyAsync(t.Context(), p, sealed, secret, producer.Queue("nobody")); err != nil {
			t.Fatal(err)
		}
		keyed := func(k secure.Key) func(*Config) {
			return func(c *Config) { c.Keyring = secure.Keyring{Sign: k} }
		}
		none, mine, others := serve(t, rdb), serve(t, rdb, keyed(ring.Sign)), serve(t, rdb, keyed(secure.NewKey("others")))
		hidden := serve(t, rdb, keyed(ring.Sign), hiding)
		pages := []string{"/jobs/" + job, "/jobs/distpool/Chosen"}
		for _, path := range append(pages, "/asynqmon/api/queues/nobody/pending_tasks", "/asynqmon/api/queues/distpool/archived_tasks") {
			wantIn(t, none.get(t, path), "(encrypted)")
			wantIn(t, mine.get(t, path), secret)
			wantIn(t, others.get(t, path), "the key is not on the keyring")
			for _, s := range []site{none, others, hidden} {
				wantNotIn(t, s.get(t, path), secret)
			}
		}
		for _, path := range pages {
			wantIn(t, mine.get(t, path), "no good: "+secret) // the error
			wantNotIn(t, mine.get(t, path), "encrypted")
		}
	})
}

func TestPagesShowWhatTheyAreFor(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb)
		wantIn(t, s.get(t, "/jobs"), "No jobs yet")
		wantIn(t, s.get(t, "/workers"), "No worker is running")
		p := startFleet(t, rdb)
		fill(t, p)
		id := s.jobID(t, "failing")
		page := s.get(t, "/jobs/"+id)
		for _, want := range []string{"30 of 30 calls", "30 failed", "Failed calls", "no good: &lt;img src=x onerror=alert(0)&gt;", "More failed calls"} {
			wantIn(t, page, want)
		}
		_, rest, _ := strings.Cut(page, `href="/jobs/`+id+`?failed=`)
		next, _, _ := strings.Cut(rest, "#")
		page = s.get(t, "/jobs/"+id+"?failed="+next)
		wantIn(t, page, "alert(29)")
		wantNotIn(t, page, "alert(0)")
		wantIn(t, s.get(t, "/jobs/"+s.jobID(t, "panicking")), "goroutine")
		wantIn(t, s.get(t, "/jobs?status=failed"), ">failing</a>")
		wantNotIn(t, s.get(t, "/jobs?status=failed"), ">quick</a>")
		var workers string
		eventually(t, "the worker has told what it did", func() bool {
			s.samples.mu.Lock()
			s.samples.points = nil // look anew
			s.samples.mu.Unlock()
			workers = s.get(t, "/workers")
			return strings.Contains(workers, ">2\u202f036<")
		})
		wantIn(t, workers, "host:")
		wantIn(t, s.get(t, "/throughput"), "<polyline")
		resp, _ := s.do(t, http.MethodGet, "/jobs/"+id+"/failed", nil)
		if to := resp.Header.Get("Location"); to != "/jobs/"+id+"#failed" {
			t.Errorf("the link to the failed calls leads to %q", to)
		}
		wantIn(t, s.get(t, "/jobs/"+id), "distpool retry-failed "+id)
		wantIn(t, s.get(t, "/asynqmon/"), `<a href="/jobs"`)
		if resp, _ := s.do(t, http.MethodGet, "/jobs/distpool/nobody", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("an unknown job answers %s", resp.Status)
		}
	})
}

func TestAJobThatNobodyServesSaysWhyItWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		s := serve(t, rdb)
		m, err := producer.ApplyAsync(t.Context(), p, quick, 1, producer.Queue("nobody"))
		if err != nil {
			t.Fatal(err)
		}
		wantIn(t, s.get(t, "/jobs/"+m.ID()), "No worker serves the queue nobody")
		if err := s.in.Pause(t.Context(), "nobody"); err != nil {
			t.Fatal(err)
		}
		s.samples.mu.Lock()
		s.samples.points = nil // look anew
		s.samples.mu.Unlock()
		wantIn(t, s.get(t, "/jobs/"+m.ID()), "The queue nobody is paused")
		if err := m.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantNotIn(t, s.get(t, "/jobs/"+m.ID()), "is paused")
	})
}

func TestEventsBringTheLivePartAndNothingRunsWhenNobodyWatches(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		s := serve(t, rdb)
		held, err := producer.ApplyAsync(t.Context(), p, holding, 1)
		if err != nil {
			t.Fatal(err)
		}
		page := "/jobs/" + held.ID()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		lines := func() *bufio.Scanner {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events?page="+url.QueryEscape(page), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
				t.Fatalf("the stream answers %v, %v", resp, err)
			}
			t.Cleanup(func() { resp.Body.Close() })
			sc := bufio.NewScanner(resp.Body)
			sc.Buffer(nil, 1<<20)
			return sc
		}
		wait := func(sc *bufio.Scanner, what string) {
			t.Helper()
			for sc.Scan() {
				data, ok := strings.CutPrefix(sc.Text(), "data: ")
				var html string
				if ok && json.Unmarshal([]byte(data), &html) == nil && strings.Contains(html, what) {
					return
				}
			}
			t.Fatalf("the stream ends without %q: %v", what, sc.Err())
		}
		a, b := lines(), lines()
		wait(a, "badge running")
		wait(b, "badge running")
		if err := held.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(a, "badge canceled")
		wait(b, "badge canceled")
		leave()
		eventually(t, "nothing runs once no page is watched", s.live.Idle)
	})
}

// A queue may have slashes and colons in its name, and a job may be called as the pages
// beside a job's own are.
func TestAJobOfAnyQueueHasItsPages(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, p := serve(t, rdb, writable), startFleet(t, rdb)
		for queue, element := range map[string]string{"a/b:c": "a%2Fb:c", "failed": "failed", "//": "%2F%2F"} {
			for _, name := range []string{"failed", "cancel", "x.y_z-1"} {
				j, err := producer.ApplyAsync(t.Context(), p, quick, 1, producer.Queue(queue), producer.ID(name))
				if err != nil {
					t.Fatal(err)
				}
				page := "/jobs/" + element + "/" + name
				eventually(t, "the job is listed", func() bool {
					return strings.Contains(s.get(t, "/jobs?queue="+url.QueryEscape(queue)), `href="`+page+`"`)
				})
				wantIn(t, s.get(t, page), j.ID())
				if resp, _ := s.do(t, http.MethodGet, page+"/failed", nil); resp.Header.Get("Location") != page+"#failed" {
					t.Errorf("the failed calls of %s are at %q", page, resp.Header.Get("Location"))
				}
				if u, err := url.Parse(page); err != nil || !isLivePage(u) {
					t.Errorf("%s is not kept up to date: %v", page, err)
				}
				if html, _, err := s.renderLive(t.Context(), page); err != nil || !strings.Contains(html, `action="`+page+`/cancel"`) {
					t.Errorf("its live part is %s, %v", html, err)
				}
				if resp, _ := s.do(t, http.MethodPost, page+"/cancel", nil); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != page {
					t.Errorf("canceling %s answers %s, and leads to %q", page, resp.Status, resp.Header.Get("Location"))
				}
				wantIn(t, s.get(t, page), "canceled")
			}
		}
		resp, _ := s.do(t, http.MethodGet, "/jobs/x.y_z-1", nil)
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusFound || to != "/jobs/distpool/x.y_z-1" {
			t.Errorf("a bare name answers %s, and leads to %q", resp.Status, to)
		}
	})
}

func TestThereAreNoEventsForOtherPages(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb)
		for _, page := range []string{"", "/login", "/asynqmon/", "https://evil.example/jobs/x/y", "//evil.example/jobs", "/jobs/a", "/jobs/a/b/c", "/jobs/a/b/failed", "/jobs/", "/jobs//b", "%zz", "/jobs?task=" + strings.Repeat("x", 3000)} {
			if resp, _ := s.do(t, http.MethodGet, "/events?page="+url.QueryEscape(page), nil); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("events for %.80q answer %s", page, resp.Status)
			}
		}
	})
}
