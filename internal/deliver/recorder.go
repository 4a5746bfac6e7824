package deliver

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/queue"
)

const (
	// noticeBytes is how large outcomes may be to travel inside the notice.
	noticeBytes = 8 << 10
	// backgroundBytes is how large the outcomes of chunks may be together that are recorded in
	// the background while their slots run the next ones. One may be larger, alone.
	backgroundBytes = 8 << 20
	// backgroundChunks is how many chunks these may be; as many as there are slots, if those
	// are more. What a crash makes run again is bounded by it.
	backgroundChunks = 64
)

// recorder sends what became of chunks, those of several in one request, and bounds how many are
// under way.
type recorder struct {
	rdb    redis.UniversalClient
	worker string
	batch  queue.Batch[sized, job.Answer]
	least  int // what each chunk counts for at least, of backgroundBytes

	mu    sync.Mutex // guards taken
	freed sync.Cond
	taken int // bytes that are under way
}

// sized is an entry of a batch, and the size of its frame.
type sized struct {
	job.Finished
	size int
}

func newRecorder(rdb redis.UniversalClient, worker string, slots int) *recorder {
	rec := &recorder{rdb: rdb, worker: worker, least: backgroundBytes / max(backgroundChunks, slots)}
	rec.freed.L = &rec.mu
	rec.batch.Size = func(e sized) int { return e.size }
	rec.batch.Send = func(ctx context.Context, lane string, entries []sized) ([]job.Answer, error) {
		finished := make([]job.Finished, len(entries))
		for i, e := range entries {
			finished[i] = e.Finished
		}
		return rec.sendAll(ctx, lane, finished...)
	}
	return rec
}

// enter waits until there is room for a frame. leave frees the room.
func (rec *recorder) enter(size int) (leave func()) {
	size = max(size, rec.least)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for rec.taken > 0 && rec.taken+size > backgroundBytes {
		rec.freed.Wait()
	}
	rec.taken += size
	return func() {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.taken -= size
		rec.freed.Broadcast()
	}
}

// send sends one entry by itself, once.
func (rec *recorder) send(ctx context.Context, lane string, entry job.Finished) (job.Answer, error) {
	answers, err := rec.sendAll(ctx, lane, entry)
	if err != nil {
		return "", err
	}
	return answers[0], nil
}

func (rec *recorder) sendAll(ctx context.Context, lane string, entries ...job.Finished) ([]job.Answer, error) {
	return job.Finish(ctx, rec.rdb, lane, job.Finishing{Worker: rec.worker, Inline: noticeBytes, Now: time.Now()}, entries)
}
