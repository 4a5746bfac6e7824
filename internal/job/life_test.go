package job

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

func done(taken Taken) Finished {
	return Record(taken.Delivery, Outcomes{Frame: []byte("out of " + taken.TaskID), Calls: 1})
}

func snapshot(t *testing.T, rdb redis.UniversalClient, name string) Snapshot {
	t.Helper()
	s, err := Read(t.Context(), rdb, lane, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// deliveries are the task IDs in the pending and active lists; whichever of these is next is first.
func deliveries(t *testing.T, rdb redis.UniversalClient, list string) string {
	t.Helper()
	ids, err := rdb.LRange(t.Context(), "asynq:{"+lane+"}:"+list, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	var next []string
	for i := len(ids) - 1; i >= 0; i-- {
		next = append(next, ids[i])
	}
	return strings.Join(next, " ")
}

func TestACallLivesInOneHash(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		submit(t, rdb, Exists, newCall(lane, "j")) // its reply was lost
		if s := snapshot(t, rdb, "j"); s.State != Sealed || s.Calls != 1 || s.Chunks != 1 || s.Running != 0 || s.About.Task != "square" || s.About.Codec != "json" {
			t.Fatalf("submitted: %+v", s)
		}
		taken := take(t, rdb, 10)
		if len(taken) != 1 || taken[0].Verdict != Run || string(taken[0].Args) != "0 1\n[7]" || taken[0].About != "1 square" || taken[0].Calls != 1 {
			t.Fatalf("took %+v", taken)
		}
		if own := fields(t, rdb, "j")["own:0"]; !strings.HasPrefix(own, worker+" ") {
			t.Fatalf("the owner is %q", own)
		}
		if s := snapshot(t, rdb, "j"); s.Running != 1 || s.Done != 0 {
			t.Fatalf("running: %+v", s)
		}
		finish(t, rdb, OK, done(taken[0]))
		finish(t, rdb, Recorded, done(taken[0])) // its reply was lost
		s := snapshot(t, rdb, "j")
		if s.State != Done || string(s.Out) != "out of j:0:1" || s.Recorded != 1 || s.Done != 1 || s.Failed != 0 || s.Finished < s.Created {
			t.Fatalf("done: %+v", s)
		}
		for field := range fields(t, rdb, "j") {
			if strings.HasPrefix(field, "args:") || strings.HasPrefix(field, "own:") {
				t.Errorf("field %s is left", field)
			}
		}
		if ttl := rdb.PTTL(t.Context(), Key(lane, "j")).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("the record lives for %v, want its TTL of a minute", ttl)
		}
		if left := keys(t, rdb, "asynq:{q}:t:*"); len(left) > 0 {
			t.Errorf("deliveries %q are left", left)
		}
		if n := rdb.Get(t.Context(), "asynq:{q}:processed").Val(); n != "1" {
			t.Errorf("asynq counts %s processed tasks, want 1", n)
		}
	})
}

func TestAMapIsDoneWithItsLastChunk(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Open, newMap(lane, "m", 3, true))
		more := Add(Ref{Name: "m"}, 5, 5, true, 0, someChunks(lane, "m", 3, 2))
		submit(t, rdb, Sealed, more, more) // the second one changes nothing
		if got, want := deliveries(t, rdb, "pending"), "m:0:1 m:1:1 m:2:1 m:3:1 m:4:1"; got != want {
			t.Fatalf("pending: %s, want %s", got, want)
		}
		taken := take(t, rdb, 10)
		if len(taken) != 5 {
			t.Fatalf("took %d deliveries, want 5", len(taken))
		}
		if s := snapshot(t, rdb, "m"); s.Running != 5 || s.Calls != 5 || s.Chunks != 5 {
			t.Fatalf("running: %+v", s)
		}
		finish(t, rdb, OK, done(taken[3]), done(taken[0]), done(taken[4]), done(taken[1]))
		if s := snapshot(t, rdb, "m"); s.State != Sealed || s.Recorded != 4 || s.Done != 4 || s.Running != 1 {
			t.Fatalf("before the last: %+v", s)
		}
		stands, err := Stands(t.Context(), rdb, lane, []Delivery{taken[0].Delivery, taken[1].Delivery, taken[2].Delivery, {Ref: Ref{Name: "m"}, Chunk: 9}, {Ref: Ref{Name: "m", Gen: "B"}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []Stand{{Task: "square"}, {Task: "square"}, {Task: "square", Waits: true, Owner: worker, Number: 1}, {Task: "square", Lost: true}, {}} {
			if stands[i] != want {
				t.Errorf("chunk %d stands as %+v, want %+v", i, stands[i], want)
			}
		}
		finish(t, rdb, OK, done(taken[2]))
		if s := snapshot(t, rdb, "m"); s.State != Done || s.Recorded != 5 || s.Running != 0 {
			t.Fatalf("done: %+v", s)
		}
		order, err := QueueOrder(t.Context(), rdb, lane, "m", []int{1, 2, 3, 4})()
		if err != nil || len(order) != 4 || order[0] != 0 || order[3] != 2 {
			t.Fatalf("the order from 1 on is %v, %v; want [0 4 1 2]", order, err)
		}
		out, err := QueueOut(t.Context(), rdb, lane, "m", 4)()
		if err != nil || string(out) != "out of m:4:1" {
			t.Fatalf("chunk 4: %q, %v", out, err)
		}
	})
}

func TestTheFirstRecordingWins(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Open, newMap(lane, "m", 2, true))
		taken := take(t, rdb, 2)
		first, second := taken[0], taken[0]
		second.Number = 2 // another delivery of the same chunk
		finish(t, rdb, OK, done(first))
		other := Record(second.Delivery, Outcomes{Frame: []byte("another outcome"), Calls: 1})
		finish(t, rdb, Recorded, other)
		if out, err := QueueOut(t.Context(), rdb, lane, "m", 0)(); err != nil || string(out) != "out of m:0:1" {
			t.Fatalf("the outcome is %q", out)
		}
		// A stream's outcomes leave the record, and still the second recording comes too late.
		if err := Consume(t.Context(), rdb, lane, Ref{Name: "m"}, []int{0}, []int{0}); err != nil {
			t.Fatal(err)
		}
		finish(t, rdb, Recorded, other)
		if s := snapshot(t, rdb, "m"); s.Recorded != 1 || s.Done != 1 {
			t.Fatalf("counted twice: %+v", s)
		}
	})
}

func TestAChunkHasOneOwner(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Open, newMap(lane, "m", 1, true))
		taken := take(t, rdb, 1)
		d := taken[0].Delivery
		again := Reissue{Delivery: Delivery{d.Ref, 0, 2}, Owner: "worker-2", Task: "square"}
		reissue := func(want State) {
			t.Helper()
			got, err := ReissueAll(t.Context(), rdb, lane, again)
			if err != nil || got[0] != want {
				t.Fatalf("reissue answers %v, %v; want %s", got, err, want)
			}
		}
		reissue(Busy)
		again.Owner, again.Died, again.Old = worker, true, taken[0].TaskID
		reissue(Reissued)
		reissue(Busy) // it has no owner now
		if active := deliveries(t, rdb, "active"); active != "" {
			t.Fatalf("active: %s", active)
		}
		taken = take(t, rdb, 5)
		if len(taken) != 1 || taken[0].TaskID != "m:0:2" || taken[0].Deaths != 1 {
			t.Fatalf("took %+v", taken)
		}
		// A second delivery of a chunk that runs ends by itself.
		rdb.LPush(t.Context(), "asynq:{q}:pending", "m:0:9")
		if more := take(t, rdb, 5); len(more) != 0 {
			t.Fatalf("took %+v of a chunk that runs", more)
		}
		if active := deliveries(t, rdb, "active"); active != "m:0:2" {
			t.Fatalf("active: %s", active)
		}
	})
}

func TestAChunkThatIsGivenBackKeepsWhatItHas(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(Job{Ref: Ref{Name: "m"}, About: "1 square", Pool: "pool", Calls: 10, Chunks: 2, Life: time.Hour, TTL: time.Minute}, someChunks(lane, "m", 0, 2))
		submit(t, rdb, Sealed, j)
		taken := take(t, rdb, 1)
		save := func(part string, calls int, want State) {
			t.Helper()
			got, err := Checkpoint(t.Context(), rdb, lane, worker, Saved{taken[0].Delivery, []byte(part), calls})
			if err != nil || got[0] != want {
				t.Fatalf("checkpoint answers %v, %v; want %s", got, err, want)
			}
		}
		save("two", 2, Sealed)
		save("three", 3, Sealed)
		if s := snapshot(t, rdb, "m"); s.Done != 3 {
			t.Fatalf("%d calls are done, want 3", s.Done)
		}
		finish(t, rdb, OK, Return(taken[0].Delivery, []byte("four"), 4, Tail, asynqMessage(lane, "m:0:1")))
		if got := deliveries(t, rdb, "pending"); got != "m:1:1 m:0:1" {
			t.Fatalf("pending: %s", got)
		}
		taken = take(t, rdb, 5)
		if string(taken[1].Part) != "four" {
			t.Fatalf("the next worker gets %q", taken[1].Part)
		}
		if got, err := Checkpoint(t.Context(), rdb, lane, "another", Saved{taken[1].Delivery, []byte("five"), 5}); err != nil || got[0] != LostOwnership {
			t.Fatalf("the checkpoint of a worker that is not the owner answers %v, %v", got, err)
		}
		finish(t, rdb, OK, Record(taken[1].Delivery, Outcomes{Frame: []byte("out"), Calls: 5}))
		if s := snapshot(t, rdb, "m"); s.Done != 5 || s.Recorded != 1 {
			t.Fatalf("%d calls are done, want 5", s.Done)
		}
		until := time.Now().Add(time.Hour)
		finish(t, rdb, OK, PutOff(taken[0].Delivery, nil, 0, until, asynqMessage(lane, "m:1:1")))
		if at := rdb.ZScore(t.Context(), "asynq:{q}:retry", "m:1:1").Val(); int64(at) != until.Unix() {
			t.Fatalf("put off until %v, want %d", at, until.Unix())
		}
		finish(t, rdb, NotOwner, PutOff(taken[0].Delivery, nil, 0, until, asynqMessage(lane, "m:1:1")))
		if n := rdb.Exists(t.Context(), "asynq:{q}:t:m:1:1").Val(); n != 1 {
			t.Fatal("the delivery that waits has lost its hash")
		}
	})
}

func TestFailedCallsKeepTheirArgumentsAndAreArchived(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		taken := take(t, rdb, 1)
		finish(t, rdb, OK, Record(taken[0].Delivery, Outcomes{
			Frame: []byte("failed"), Calls: 1, Failed: 1, SlowTook: 1500 * time.Millisecond, Message: asynqMessage(lane, "j:0:1"),
		}))
		f := fields(t, rdb, "j")
		if f["kept:0"] != "0 1\n[7]" || f["failed"] != "1" || f["slow"] != "1500 0 "+worker {
			t.Fatalf("the record is %q", f)
		}
		if n := rdb.ZCard(t.Context(), "asynq:{q}:archived").Val(); n != 1 {
			t.Fatalf("%d deliveries are archived, want 1", n)
		}
		if n := rdb.Get(t.Context(), "asynq:{q}:failed").Val(); n != "1" {
			t.Fatalf("asynq counts %s failed tasks, want 1", n)
		}
	})
}

func TestNothingRunsOfAJobThatIsOver(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newMap(lane, "m", 3, false), newCall(lane, "j"), newCall(lane, "k"))
		taken := take(t, rdb, 1)
		for _, want := range []State{Canceled, Canceled} {
			if got, err := Cancel(t.Context(), rdb, lane, "enough", Ref{Name: "m"}); err != nil || got[0] != want {
				t.Fatalf("cancel answers %v, %v; want %s", got, err, want)
			}
		}
		if got, err := Forget(t.Context(), rdb, lane, Ref{Name: "j"}, Ref{Name: "none"}); err != nil || got[0] != Sealed || got[1] != Gone {
			t.Fatalf("forget answers %v, %v", got, err)
		}
		if got, err := Checkpoint(t.Context(), rdb, lane, worker, Saved{Delivery: Delivery{Ref: Ref{Name: "m"}}}); err != nil || got[0] != Canceled {
			t.Fatalf("checkpoint answers %v, %v", got, err)
		}
		finish(t, rdb, Ended, done(taken[0]))
		taken = take(t, rdb, 10)
		if len(taken) != 1 || taken[0].Name != "k" {
			t.Fatalf("took %+v, want only k", taken)
		}
		if s := snapshot(t, rdb, "m"); s.State != Canceled || s.Reason != "enough" || s.Recorded != 0 {
			t.Fatalf("canceled: %+v", s)
		}
		if s := snapshot(t, rdb, "j"); s.State != Gone {
			t.Fatalf("forgotten: %+v", s)
		}
		finish(t, rdb, OK, done(taken[0]))
		if got, err := Cancel(t.Context(), rdb, lane, "", Ref{Name: "k"}); err != nil || got[0] != Done {
			t.Fatalf("cancel of a job that is done answers %v, %v", got, err)
		}
	})
}

func TestAJobOfTheSameNameIsAnotherJob(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		named := func(gen string) Submission {
			d := Delivery{Ref{"name", gen}, 0, 1}
			return New(Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
				[]Chunk{{Args: []byte(gen), TaskID: d.TaskID(), Message: asynqMessage(lane, d.TaskID())}})
		}
		submit(t, rdb, Sealed, named("first"))
		old := take(t, rdb, 1)[0]
		if got, err := Forget(t.Context(), rdb, lane, Ref{"name", AnyGen}); err != nil || got[0] != Sealed {
			t.Fatalf("forget answers %v, %v", got, err)
		}
		submit(t, rdb, Sealed, named("second"))
		finish(t, rdb, NoJob, done(old))
		taken := take(t, rdb, 5)
		if len(taken) != 1 || string(taken[0].Args) != "second" || taken[0].Gen != "second" {
			t.Fatalf("took %+v", taken)
		}
	})
}

func TestAJobThatMustBeginInTime(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		within := func(name string, d time.Duration) Submission {
			return New(Job{Ref: Ref{Name: name}, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute, Within: d},
				someChunks(lane, name, 0, 1))
		}
		submit(t, rdb, Sealed, within("late", time.Millisecond), within("early", time.Hour))
		for now := time.Now(); time.Since(now) < 2*time.Millisecond; { // by Redis's clock it is over
			time.Sleep(time.Millisecond)
		}
		taken := take(t, rdb, 5)
		if len(taken) != 2 || taken[0].Verdict != Late || taken[1].Verdict != Run {
			t.Fatalf("took %+v", taken)
		}
		got, err := Expire(t.Context(), rdb, lane, Ref{Name: "late"}, Ref{Name: "early"})
		if err != nil || got[0] != Canceled || got[1] != Sealed {
			t.Fatalf("expire answers %v, %v", got, err)
		}
		if s := snapshot(t, rdb, "late"); s.State != Unstarted {
			t.Fatalf("expired: %+v", s)
		}
	})
}

func TestDelayedDeliveriesComeWhenTheyAreDue(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		due := time.Now().Add(time.Hour)
		delayed := func(name string) Submission {
			cs := someChunks(lane, name, 0, 1)
			cs[0].Due = due
			return New(Job{Ref: Ref{Name: name}, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: 2 * time.Hour, TTL: time.Minute}, cs)
		}
		submit(t, rdb, Sealed, delayed("a"), delayed("b"), delayed("c"), newCall(lane, "d"))
		d := take(t, rdb, 5)[0]
		finish(t, rdb, OK, PutOff(d.Delivery, nil, 0, due, asynqMessage(lane, "d:0:1")))
		if n := rdb.Exists(t.Context(), asynqfmt.ScheduledKey(lane), asynqfmt.RetryKey(lane)).Val(); n != 2 {
			t.Fatalf("%d sets have delayed deliveries, want 2", n)
		}
		forward := func(now time.Time, want int) {
			t.Helper()
			if n, err := Forward(t.Context(), rdb, lane, now); err != nil || n != want {
				t.Fatalf("%d deliveries are due at %v, %v; want %d", n, now, err, want)
			}
		}
		forward(due.Add(-2*time.Second), 0)
		for i, want := range []int{0, 2, 0} { // once they are not due, since they were put off again
			now := due.Add(time.Duration(i-1) * time.Minute)
			if n, err := Start(t.Context(), rdb, lane, now, "b:0:1", "d:0:1"); err != nil || n != want {
				t.Fatalf("%d deliveries were started, %v; want %d", n, err, want)
			}
		}
		if got := deliveries(t, rdb, "pending"); got != "b:0:1 d:0:1" {
			t.Fatalf("pending: %s", got)
		}
		forward(due, 2)
		forward(due, 0)
		if taken := take(t, rdb, 9); len(taken) != 4 {
			t.Fatalf("took %+v", taken)
		}
	})
}
