package record

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/wire"
)

// both runs f on miniredis and on a real Redis.
func both(t *testing.T, f func(t *testing.T, c *redis.Client)) {
	t.Helper()
	for name, addr := range map[string]func(t *testing.T) string{
		"mini": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"real": func(t *testing.T) string { return redistest.Start(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: addr(t)})
			t.Cleanup(func() { _ = c.Close() })
			f(t, c)
		})
	}
}

func args(first, n int) []byte { return wire.EncodeArgs(first, n, []byte("[1]")) }
func outcome(first, n int) []byte {
	return wire.Outcome{First: first, Calls: n, Values: []byte("[1]")}.Encode()
}

// create makes a sealed job of single-call chunks.
func create(t *testing.T, c *redis.Client, id string, chunks int) {
	t.Helper()
	var cs []Chunk
	for i := range chunks {
		cs = append(cs, Chunk{i, args(i, 1)})
	}
	j := Job{ID: id, Task: "square", Codec: "json", Queue: "q", Reply: "r", Calls: chunks, Chunks: chunks, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Minute}
	if n, err := Create(j, cs).Run(t.Context(), c).Int(); err != nil || n != 1 {
		t.Fatalf("create: %d, %v", n, err)
	}
	if n, err := Create(j, cs).Run(t.Context(), c).Int(); err != nil || n != 0 {
		t.Fatalf("create again: %d, %v; want 0: the job exists", n, err)
	}
}

func begin(t *testing.T, c *redis.Client, id string, chunk int, worker, from string) Begun {
	t.Helper()
	b, err := Begin(t.Context(), c, id, chunk, worker, from, 3)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func recordOne(t *testing.T, c *redis.Client, id string, chunk, failed int) Result {
	t.Helper()
	r, err := Record(t.Context(), c, id, chunk, outcome(chunk, 1), 1, failed, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshot(t *testing.T, c *redis.Client, id string) Snapshot {
	t.Helper()
	s, err := Read(t.Context(), c, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mortal checks that every key of the job has a time to live.
func mortal(t *testing.T, c *redis.Client, id string, atMost time.Duration) {
	t.Helper()
	for _, k := range Keys(id) {
		switch ttl := c.PTTL(t.Context(), k).Val(); {
		case ttl == -2: // no such key
		case ttl <= 0 || ttl > atMost:
			t.Errorf("key %s lives for %v, want up to %v", k, ttl, atMost)
		}
	}
}

func TestTheFirstRecordingWinsAndTheLastChunkEndsTheJob(t *testing.T) {
	for _, chunks := range []int{1, 3} { // one chunk is kept inline
		both(t, func(t *testing.T, c *redis.Client) {
			create(t, c, "j", chunks)
			mortal(t, c, "j", time.Hour)
			for i := range chunks {
				if b := begin(t, c, "j", i, "w", ""); b.Verdict != Run || b.Delivery != 1 || string(b.Args) != string(args(i, 1)) || b.Task != "square" {
					t.Fatalf("begin: %+v", b)
				}
				mortal(t, c, "j", time.Hour)
				if r := recordOne(t, c, "j", i, i%2); r != OK {
					t.Fatalf("record: %s", r)
				}
				if r := recordOne(t, c, "j", i, 0); r != AlreadyRecorded {
					t.Errorf("the second recording: %s, want %s", r, AlreadyRecorded)
				}
				mortal(t, c, "j", time.Hour)
			}
			s := snapshot(t, c, "j")
			if s.State != Done || s.Recorded != chunks || s.Done != chunks || s.Failed != chunks/2 {
				t.Errorf("after all recordings: %+v", s)
			}
			mortal(t, c, "j", time.Minute)
			if b := begin(t, c, "j", 0, "w", ""); b.Verdict != EndedJob || b.State != Done {
				t.Errorf("begin after the end: %+v", b)
			}
		})
	}
}

func TestAChunkHasOneOwnerAndALimitedNumberOfDeaths(t *testing.T) {
	for _, chunks := range []int{1, 2} {
		both(t, func(t *testing.T, c *redis.Client) {
			create(t, c, "j", chunks)
			begin(t, c, "j", 0, "w0", "")
			if b := begin(t, c, "j", 0, "w1", ""); b.Verdict != Busy || b.Owner != "w0" {
				t.Errorf("a second owner: %+v", b)
			}
			if b := begin(t, c, "j", 0, "w0", "w0"); b.Verdict != Run || b.Delivery != 1 {
				t.Errorf("the same owner, whose reply was lost: %+v", b)
			}
			if b := begin(t, c, "j", 0, "w1", "w0"); b.Verdict != Run || b.Delivery != 2 {
				t.Errorf("after one death: %+v", b)
			}
			// Giving back on purpose is no death, and needs no takeover.
			if ok, err := Release(t.Context(), c, "j", 0, "w1", nil, 0); !ok || err != nil {
				t.Errorf("release: %v, %v", ok, err)
			}
			if ok, _ := Release(t.Context(), c, "j", 0, "w0", nil, 0); ok {
				t.Error("a worker released a chunk that is not its own")
			}
			if b := begin(t, c, "j", 0, "w2", ""); b.Verdict != Run || b.Delivery != 2 {
				t.Errorf("after a release: %+v", b)
			}
			if b := begin(t, c, "j", 0, "w3", "w2"); b.Verdict != Run || b.Delivery != 3 {
				t.Errorf("after two deaths: %+v", b)
			}
			if b := begin(t, c, "j", 0, "w4", "w3"); b.Verdict != Lost || b.Delivery != 3 {
				t.Errorf("after three deaths: %+v", b)
			}
		})
	}
}

func TestAnEndedJobTakesNoRecordings(t *testing.T) {
	for _, chunks := range []int{1, 2} {
		both(t, func(t *testing.T, c *redis.Client) {
			ctx := t.Context()
			sub := c.Subscribe(ctx, Control)
			defer func() { _ = sub.Close() }()
			if _, err := sub.Receive(ctx); err != nil {
				t.Fatal(err)
			}
			create(t, c, "j", chunks)
			begin(t, c, "j", 0, "w", "")
			if s, err := Cancel(ctx, c, "j", "why"); s != Canceled || err != nil {
				t.Fatalf("cancel: %s, %v", s, err)
			}
			mortal(t, c, "j", time.Minute)
			if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "j" {
				t.Errorf("workers heard %v, %v", m, err)
			}
			if r := recordOne(t, c, "j", 0, 0); r != WasCanceled {
				t.Errorf("recording for a canceled job: %s", r)
			}
			if s, err := Forget(ctx, c, "j"); s != Canceled || err != nil {
				t.Errorf("forget: %s, %v", s, err)
			}
			if r := recordOne(t, c, "j", 0, 0); r != WasGone {
				t.Errorf("recording for a forgotten job: %s", r)
			}
			if b := begin(t, c, "j", 0, "w", ""); b.Verdict != GoneJob {
				t.Errorf("begin for a forgotten job: %+v", b)
			}
			if keys := c.Keys(ctx, Prefix+"*").Val(); len(keys) != 0 {
				t.Errorf("a forgotten job leaves %v", keys)
			}
		})
	}
}

func TestAnOpenJobEndsWhenItIsSealedAndComplete(t *testing.T) {
	both(t, func(t *testing.T, c *redis.Client) {
		ctx := t.Context()
		j := Job{ID: "j", Task: "square", Codec: "json", Queue: "q", Calls: 3, Chunks: 1, OpenTTL: time.Hour, ResultTTL: time.Minute}
		if err := Create(j, []Chunk{{0, args(0, 1)}}).Run(ctx, c).Err(); err != nil {
			t.Fatal(err)
		}
		begin(t, c, "j", 0, "w", "")
		recordOne(t, c, "j", 0, 0)
		if s := snapshot(t, c, "j"); s.State != Open {
			t.Errorf("an open job with all its chunks recorded is %s", s.State)
		}
		add := func(chunks int, seal bool, more ...Chunk) string {
			s, err := Add("j", 3, chunks, seal, more).Run(ctx, c).Text()
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		add(2, false, Chunk{1, args(1, 1)})
		recordOne(t, c, "j", 1, 0)
		add(2, false, Chunk{1, args(1, 1)}) // sent twice, after its recording
		if b := begin(t, c, "j", 1, "w", ""); b.Verdict != Recorded {
			t.Errorf("a chunk that was added twice: %+v", b)
		}
		if s := add(3, true, Chunk{2, args(2, 1)}); s != string(Sealed) {
			t.Errorf("sealed with a chunk to go: %s", s)
		}
		mortal(t, c, "j", time.Hour)
		recordOne(t, c, "j", 2, 0)
		if s := snapshot(t, c, "j"); s.State != Done || s.Done != 3 {
			t.Errorf("after the last recording: %+v", s)
		}
		if s := add(4, true); s != string(Done) {
			t.Errorf("adding to a job that is over: %s", s)
		}
	})
}

func TestANoticeCarriesASmallOutcomeAndAnnouncesALargeOne(t *testing.T) {
	both(t, func(t *testing.T, c *redis.Client) {
		ctx := t.Context()
		sub := c.Subscribe(ctx, "r")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		create(t, c, "j", 2)
		for chunk, inline := range []int{1 << 10, 1} {
			if _, err := Record(ctx, c, "j", chunk, outcome(chunk, 1), 1, 0, inline); err != nil {
				t.Fatal(err)
			}
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n, err := ParseNotice(m.Payload)
			if err != nil || n.ID != "j" || n.Chunk != chunk || n.Recorded != chunk+1 || n.Done != chunk+1 {
				t.Errorf("notice %+v, %v", n, err)
			}
			if chunk == 0 && (n.What != NoticeOut || string(n.Outcome) != string(outcome(0, 1)) || n.State != Sealed) {
				t.Errorf("notice of a small outcome: %+v", n)
			}
			if chunk == 1 && (n.What != NoticeRec || len(n.Outcome) != 0 || n.State != Done) {
				t.Errorf("notice of a large outcome: %+v", n)
			}
		}
	})
}

func TestACorruptRecordIsNotAMissingOne(t *testing.T) {
	both(t, func(t *testing.T, c *redis.Client) {
		ctx := t.Context()
		if s := snapshot(t, c, "none"); s.State != Gone {
			t.Errorf("no record: %+v", s)
		}
		create(t, c, "j", 2)
		c.HSet(ctx, Keys("j")[0], "calls", "many")
		if _, err := Read(ctx, c, "j"); !IsCorrupt(err) || !strings.Contains(err.Error(), `"many"`) {
			t.Errorf("a record whose count is no number: %v", err)
		}
		if _, err := Begin(ctx, c, "j", 0, "w", "", 3); !IsCorrupt(err) {
			t.Errorf("begin on it: %v", err)
		}
		c.HSet(ctx, Keys("j")[0], "v", 99)
		if _, err := Read(ctx, c, "j"); !IsCorrupt(err) || !strings.Contains(err.Error(), "version") {
			t.Errorf("a record of another version: %v", err)
		}
	})
}

func TestTheRegistryListsTheLiving(t *testing.T) {
	both(t, func(t *testing.T, c *redis.Client) {
		ctx := context.Background()
		w := Worker{ID: "w", Concurrency: 4, Queues: map[string]int{"q": 2}, Tasks: []string{"square"}}
		if known, err := Beat(ctx, c, w, time.Minute, false); known || err != nil {
			t.Errorf("a beat of a worker that has not introduced itself: %v, %v", known, err)
		}
		for _, full := range []bool{true, false} {
			if known, err := Beat(ctx, c, w, time.Minute, full); !known || err != nil {
				t.Errorf("beat: %v, %v", known, err)
			}
		}
		ws, err := Workers(ctx, c)
		if err != nil || len(ws) != 1 || !ws[0].Serves("q") || ws[0].Serves("other") || !ws[0].Knows("square") || ws[0].Knows("cube") {
			t.Errorf("workers: %+v, %v", ws, err)
		}
		if alive, err := Alive(ctx, c, "w"); !alive || err != nil {
			t.Errorf("alive: %v, %v", alive, err)
		}
		c.Del(ctx, workerPrefix+"w") // what its time to live does
		if ws, err := Workers(ctx, c); len(ws) != 0 || err != nil {
			t.Errorf("workers after its death: %+v, %v", ws, err)
		}
		if err := Depart(ctx, c, "w"); err != nil {
			t.Error(err)
		}
		lead := func(id string) bool {
			ok, err := Lead(ctx, c, id, time.Minute)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		if !lead("a") || lead("b") || !lead("a") {
			t.Error("want one leader, a, until it resigns")
		}
		if err := Resign(ctx, c, "b"); err != nil || !lead("a") {
			t.Error("another's resignation changed the leader", err)
		}
		if err := Resign(ctx, c, "a"); err != nil || !lead("b") {
			t.Error("after a's resignation b does not lead", err)
		}
	})
}
