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
	send  func(ctx context.Context, lane string, entries []job.Finished) ([]job.Answer, error)
	batch queue.Batch[job.Finished, job.Answer]
	least int // what each chunk counts for at least, of backgroundBytes

	mu    sync.Mutex // guards taken
	freed sync.Cond
	taken int // bytes that are under way
}

func newRecorder(rdb redis.UniversalClient, worker string, slots int) *recorder {
	rec := &recorder{least: backgroundBytes / max(backgroundChunks, slots)}
	rec.freed.L = &rec.mu
	rec.send = func(ctx context.Context, lane string, entries []job.Finished) ([]job.Answer, error) {
		return job.Finish(ctx, rdb, lane, job.Finishing{Worker: worker, Inline: noticeBytes, Now: time.Now()}, entries)
	}
	rec.batch.Send, rec.batch.Size = rec.send, job.Finished.Size
	return rec
}

// enter waits until there is room for a frame.
func (rec *recorder) enter(size int) {
	size = max(size, rec.least)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for rec.taken > 0 && rec.taken+size > backgroundBytes {
		rec.freed.Wait()
	}
	rec.taken += size
}

// leave frees the room of a frame.
func (rec *recorder) leave(size int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.taken -= max(size, rec.least)
	rec.freed.Broadcast()
}

// idle waits until nothing is under way.
func (rec *recorder) idle() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for rec.taken > 0 {
		rec.freed.Wait()
	}
}
