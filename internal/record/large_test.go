package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redistest"
)

// How large frames come and go is the same on each kind of Redis. In a Cluster, which
// takes seconds to start, one test comes after the other.
func TestLargeFrames(t *testing.T) {
	tests := map[string]func(*testing.T, redis.UniversalClient){
		"of a job of one chunk":             largeOfOneChunk,
		"of a map":                          largeOfAMap,
		"of a job that is canceled":         largeOfACanceledJob,
		"of a stream":                       largeOfAStream,
		"of somebody who was not the first": largeOfTheFirstCreator,
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) { onBoth(t, f) })
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.StartCluster(t, 3)[0].Addr()}})
	defer rdb.Close()
	for name, f := range tests {
		t.Run(name+"/cluster", func(t *testing.T) {
			f(t, rdb)
			if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
				t.Fatal(err)
			}
			wantBlobs(t, rdb, "at the end", "", openTTL)
		})
	}
}

// big makes a frame that is kept apart.
func big(b byte) []byte { return bytes.Repeat([]byte{b}, record.LargeFrame) }

// bigChunks makes chunks like chunks, whose arguments are kept apart.
func bigChunks(first, n int) []record.Chunk {
	cs := make([]record.Chunk, n)
	for i := range cs {
		cs[i] = record.Chunk{Number: first + i, Args: big('a' + byte(first+i)), Apart: true}
	}
	return cs
}

// blobs lists the large frames of job "q/j" by their first byte, and how often each is
// there, and checks that each lives for about as long as limit.
func blobs(t *testing.T, rdb redis.UniversalClient, limit time.Duration) string {
	t.Helper()
	var names []string
	collect := func(c redis.Cmdable) {
		found, err := c.Keys(t.Context(), "distpool:{q}:job:j:blob:*").Result()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(t.Context(), record.Keys("q/j")[0])
		if err != nil {
			t.Fatal(err)
		}
		collect(master)
	} else {
		collect(rdb)
	}
	var firsts []byte
	for _, name := range names {
		frame, err := rdb.Get(t.Context(), name).Bytes()
		if err != nil || len(frame) != record.LargeFrame {
			t.Errorf("%s has %d bytes, %v", name, len(frame), err)
			continue
		}
		firsts = append(firsts, frame[0])
		// Half is far from both of the times to live that these tests use.
		if ttl := rdb.PTTL(t.Context(), name).Val(); ttl <= limit/2 || ttl > limit+10*time.Second {
			t.Errorf("the large frame %q lives for %v, want %v", frame[0], ttl, limit)
		}
	}
	slices.Sort(firsts)
	return string(firsts)
}

// wantBlobs checks which large frames there are.
func wantBlobs(t *testing.T, rdb redis.UniversalClient, when, want string, limit time.Duration) {
	t.Helper()
	if got := blobs(t, rdb, limit); got != want {
		t.Errorf("%s there are the large frames %q, want %q", when, got, want)
	}
}

// recordBig records a large outcome.
func recordBig(t *testing.T, rdb redis.UniversalClient, chunk int, outcome byte, failed int, want record.Result) record.Op {
	t.Helper()
	op := record.Recording{Outcome: big(outcome), Calls: 2, Failed: failed, Inline: 100, Apart: true}.Op(record.Ref{ID: "q/j"}, chunk)
	rerecord(t, rdb, op, want)
	return op
}

func rerecord(t *testing.T, rdb redis.UniversalClient, op record.Op, want record.Result) {
	t.Helper()
	if answer, err := op.Run(t.Context(), rdb).Text(); err != nil || answer != string(want) {
		t.Fatalf("record answers %q, %v; want %q", answer, err, want)
	}
}

func whole(t *testing.T, rdb redis.UniversalClient, reference []byte, want byte) {
	t.Helper()
	if !record.IsReference(reference) || record.LargeSize(reference) != record.LargeFrame {
		t.Fatalf("%.40q is no reference to a frame of %d bytes", reference, record.LargeFrame)
	}
	frame, err := record.Whole(t.Context(), rdb, "q/j", reference)
	if err != nil || !bytes.Equal(frame, big(want)) {
		t.Fatalf("%d bytes are there, %v; want those of %q", len(frame), err, want)
	}
}

func largeOfOneChunk(t *testing.T, rdb redis.UniversalClient) {
	next := func() string { return "" }
	if _, ok := rdb.(*redis.ClusterClient); !ok {
		next = subscribe(t, rdb, "reply")
	}
	create(t, rdb, job(2, 1, true), bigChunks(0, 1))
	wantBlobs(t, rdb, "while it waits", "a", openTTL)
	b := begin(t, rdb, 0, "w", "", record.Run)
	whole(t, rdb, b.Args, 'a')
	if !b.Big {
		t.Error("who created the job is not said to read what is large")
	}
	op := recordBig(t, rdb, 0, 'o', 0, record.OK)
	wantBlobs(t, rdb, "when it is done", "o", resultTTL)
	whole(t, rdb, read(t, rdb).Out, 'o')
	if payload := next(); payload != "" {
		n, err := record.ParseNotice(payload)
		if err != nil || n.What != record.NoticeRec {
			t.Fatalf("the notice is %+v, %v", n, err)
		}
		whole(t, rdb, n.Outcome, 'o')
	}
	// The reply was lost, so it is sent again: nothing changes.
	rerecord(t, rdb, op, record.AlreadyRecorded)
	whole(t, rdb, read(t, rdb).Out, 'o')
	// Another run of the chunk comes too late, and leaves nothing.
	recordBig(t, rdb, 0, 'p', 0, record.AlreadyRecorded)
	wantBlobs(t, rdb, "after a second run", "o", resultTTL)
	if s, err := record.Forget(t.Context(), rdb, "q/j"); err != nil || s != record.Done {
		t.Fatalf("forget answers %q, %v", s, err)
	}
	wantBlobs(t, rdb, "once it is forgotten", "", resultTTL)
	recordBig(t, rdb, 0, 'p', 0, record.WasGone)
	wantBlobs(t, rdb, "after a run that came later still", "", resultTTL)
}

func largeOfAMap(t *testing.T, rdb redis.UniversalClient) {
	create(t, rdb, job(4, 2, false), bigChunks(0, 2))
	more := record.Add(record.Ref{ID: "q/j"}, 8, 4, true, append(bigChunks(2, 1), record.Chunk{Number: 3, Args: []byte("small"), Apart: true}))
	for range 2 { // the second time as if the reply had been lost
		if s, err := more.Run(t.Context(), rdb).Text(); err != nil || s != string(record.Sealed) {
			t.Fatalf("add answers %q, %v", s, err)
		}
	}
	add(t, rdb, 8, 4, true, bigChunks(0, 1), record.Sealed) // another's, of chunks that are there
	wantBlobs(t, rdb, "while it waits", "abc", openTTL)
	if args := begin(t, rdb, 3, "w", "", record.Run).Args; string(args) != "small" {
		t.Errorf("small arguments are %q", args)
	}
	whole(t, rdb, begin(t, rdb, 2, "w", "", record.Run).Args, 'c')
	recordBig(t, rdb, 2, 'z', 0, record.OK)
	rec(t, rdb, 0, "small", 0, record.OK)
	wantBlobs(t, rdb, "half way", "bz", openTTL)
	out, err := record.ParseOut(record.QueueOut(t.Context(), rdb, "q/j", 2))
	if err != nil {
		t.Fatal(err)
	}
	whole(t, rdb, out, 'z')
	begin(t, rdb, 2, "w", "", record.Recorded)
	recordBig(t, rdb, 1, 'y', 2, record.OK) // the arguments of failed calls are kept
	wantBlobs(t, rdb, "with a chunk that failed", "byz", openTTL)
	key, field := record.FailedField(record.Snapshot{ID: "q/j"}, 1)
	whole(t, rdb, []byte(rdb.HGet(t.Context(), key, field).Val()), 'b')
	rec(t, rdb, 3, "small", 0, record.OK)
	if s := read(t, rdb); s.State != record.Done || s.Recorded != 4 || s.Failed != 2 {
		t.Errorf("the job reads %+v", s)
	}
	wantBlobs(t, rdb, "when it is done", "byz", resultTTL)
}

func largeOfACanceledJob(t *testing.T, rdb redis.UniversalClient) {
	create(t, rdb, job(4, 2, true), bigChunks(0, 2))
	recordBig(t, rdb, 1, 'o', 0, record.OK)
	if s, err := record.Cancel(t.Context(), rdb, "q/j", "enough"); err != nil || s != record.Canceled {
		t.Fatalf("cancel answers %q, %v", s, err)
	}
	wantBlobs(t, rdb, "once it is canceled", "o", resultTTL)
	recordBig(t, rdb, 0, 'p', 0, record.WasCanceled)
	wantBlobs(t, rdb, "after a chunk that was too late", "o", resultTTL)
	if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
		t.Fatal(err)
	}
	wantBlobs(t, rdb, "once it is forgotten", "", resultTTL)
}

func largeOfAStream(t *testing.T, rdb redis.UniversalClient) {
	extend := func(ttl time.Duration, more []record.Chunk) {
		t.Helper()
		if err := record.Extend(record.Ref{ID: "q/j"}, 8, 4, false, ttl, more).Run(t.Context(), rdb).Err(); err != nil {
			t.Fatal(err)
		}
	}
	create(t, rdb, job(6, 3, false), bigChunks(0, 3))
	recordBig(t, rdb, 0, 'o', 0, record.OK)
	recordBig(t, rdb, 1, 'p', 2, record.OK)
	rec(t, rdb, 2, "small", 0, record.OK)
	wantBlobs(t, rdb, "before they are taken", "bop", openTTL)
	for range 2 {
		if err := record.Consume(t.Context(), rdb, "q/j", []int{0, 1, 2}); err != nil {
			t.Fatal(err)
		}
		wantBlobs(t, rdb, "once they are taken", "", openTTL)
	}
	if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "kept").Val(); n != "0" {
		t.Errorf("%s bytes count as kept", n)
	}
	extend(openTTL, bigChunks(3, 1))
	wantBlobs(t, rdb, "with another chunk", "d", openTTL)
	extend(10*openTTL, nil)
	wantBlobs(t, rdb, "with more time", "d", 10*openTTL)
}

func TestLargeArgumentsOfFailedCallsThatDoNotFitAreDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, inline := range []bool{true, false} {
			create(t, rdb, job(2, 1, inline), bigChunks(0, 1))
			rdb.HSet(t.Context(), record.Keys("q/j")[0], "kept", 64<<20-record.LargeFrame+1)
			begin(t, rdb, 0, "w", "", record.Run)
			rec(t, rdb, 0, "o", 2, record.OK)
			wantBlobs(t, rdb, "without room for them", "", openTTL)
			if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "kept").Val(); n != fmt.Sprint(64<<20-record.LargeFrame+1) {
				t.Errorf("%s bytes count as kept", n)
			}
			if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func largeOfTheFirstCreator(t *testing.T, rdb redis.UniversalClient) {
	for _, inline := range []bool{true, false} {
		first := record.Create(job(2, 1, inline), bigChunks(0, 1))
		other := record.Create(job(2, 1, inline), bigChunks(1, 1))
		for i, want := range []int{1, 0, 0} {
			op := first
			if i == 1 {
				op = other
			}
			if n, err := op.Run(t.Context(), rdb).Int(); err != nil || n != want {
				t.Fatalf("create answers %d, %v; want %d", n, err, want)
			}
			wantBlobs(t, rdb, "then", "a", openTTL)
		}
		if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
			t.Fatal(err)
		}
	}
}

// What could not be stored is not referred to, and the record stays as it was.
func TestAReferenceToNothingIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		if err := record.Load(t.Context(), rdb); err != nil {
			t.Fatal(err)
		}
		alone := func(op record.Op) error { // the script alone
			cmd := op.Cmd(t.Context())
			_ = rdb.Process(t.Context(), cmd)
			return cmd.Err()
		}
		for _, inline := range []bool{true, false} {
			if err := alone(record.Create(job(2, 1, inline), bigChunks(0, 1))); err == nil || !strings.HasPrefix(err.Error(), "LARGEGONE") {
				t.Fatalf("create answers %v", err)
			}
			if s := read(t, rdb); s.State != record.Gone {
				t.Fatalf("the job reads %+v", s)
			}
			create(t, rdb, job(2, 1, inline), chunks(0, 1))
			if !inline {
				if err := alone(record.Add(record.Ref{ID: "q/j"}, 4, 2, false, bigChunks(1, 1))); err == nil || !strings.HasPrefix(err.Error(), "LARGEGONE") {
					t.Fatalf("add answers %v", err)
				}
			}
			begin(t, rdb, 0, "w", "", record.Run)
			rec(t, rdb, 0, "o", 0, record.OK) // loads the script
			if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
				t.Fatal(err)
			}
			create(t, rdb, job(2, 1, inline), chunks(0, 1))
			op := record.Recording{Outcome: big('o'), Calls: 2, Apart: true}.Op(record.Ref{ID: "q/j"}, 0)
			if err := alone(op); err == nil || !strings.HasPrefix(err.Error(), "LARGEGONE") {
				t.Fatalf("record answers %v", err)
			}
			if s := read(t, rdb); s.Recorded != 0 || s.Out != nil {
				t.Fatalf("the job reads %+v", s)
			}
			rerecord(t, rdb, op, record.OK) // with the frame
			if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
				t.Fatal(err)
			}
			refusedFinish(t, rdb, alone, inline)
		}
		if names := rdb.Keys(t.Context(), "*").Val(); len(names) > 0 {
			t.Errorf("keys %v are left", names)
		}
	})
}

// Who dies between the two leaves nothing for long.
func TestALargeFrameThatNoScriptCameForGoesByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := rdb.Pipeline()
		queued := record.Create(job(2, 1, true), bigChunks(0, 1)).Queue(t.Context(), p)
		_, _ = p.Exec(t.Context())
		if err := queued.Reply().Err(); !record.IsNoScript(err) {
			t.Fatalf("a script that was not loaded answers %v", err)
		}
		wantBlobs(t, rdb, "without a job", "a", 10*time.Minute)
	})
}

func TestReferencesThatAreDamagedHostileOrToNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		token := strings.Repeat("A", 26)
		key := "distpool:{q}:job:j:blob:" + token
		rdb.Set(t.Context(), key, "12345", time.Minute)
		rdb.HSet(t.Context(), "distpool:{q}:job:j:blob:"+strings.Repeat("B", 26), "f", "v")
		for reference, corrupt := range map[string]bool{
			"@ " + token + " 5":                       false, // nothing is wrong with it
			"@ " + token + " 4":                       true,
			"@ " + token + " 05x":                     true,
			"@ " + strings.Repeat("B", 26) + " 1":     true, // of another type
			"@ ../../" + token + " 5":                 true,
			"@ " + token[:25] + "} 5":                 true,
			"@":                                       true,
			"@ " + token + " 99999999999999999999999": true,
		} {
			frame, err := record.Whole(t.Context(), rdb, "q/j", []byte(reference))
			if corrupt && !record.IsCorrupt(err) || !corrupt && (err != nil || string(frame) != "12345") {
				t.Errorf("%q leads to %q, %v", reference, frame, err)
			}
		}
		if _, err := record.Whole(t.Context(), rdb, "q/j", []byte("@ "+strings.Repeat("C", 26)+" 5")); !errors.Is(err, record.ErrLargeGone) || record.IsCorrupt(err) {
			t.Errorf("a reference to nothing leads to %v", err)
		}
	})
}
