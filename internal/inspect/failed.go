package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
)

// FailedCall is a call that failed for good.
type FailedCall struct {
	Chunk int
	Call  int // index in the job
	Error wire.CallError
	Args  Preview // of its arguments
}

// FailedQuery says which failed calls of a job to read.
type FailedQuery struct {
	Limit       int // calls; defaults to 20, at most 500
	Chunk, Skip int // where to go on: Next of the page before
	Preview     int // characters of the arguments; defaults to DefaultPreview
}

// FailedPage is a part of a job's failed calls, by their place in the job.
type FailedPage struct {
	Calls    []FailedCall
	More     bool        // there are more, from Next on
	Next     FailedQuery // the query for them
	TooLarge []int       // chunks with failed calls that are too large to be looked into here

	bytes int // read so far
}

const (
	defaultFailed = 20
	maxFailed     = 500
	// maxFailedBytes bounds what one page reads of arguments and outcomes.
	maxFailedBytes = 8 << 20
)

// FailedCalls reads failed calls of a job. It reads 8 MiB of arguments and
// outcomes at the most, and looks for them for 120 ms: a page of a job with very many chunks may
// have none, and yet there are more.
func (in *Inspector) FailedCalls(ctx context.Context, id string, q FailedQuery) (FailedPage, error) {
	j, err := in.one(ctx, id)
	if err != nil {
		return FailedPage{}, err
	}
	page, err := in.failedPage(ctx, j, q)
	if err != nil {
		return FailedPage{}, fmt.Errorf("reading the failed calls of job %s: %w", id, err)
	}
	return page, nil
}

func (in *Inspector) failedPage(ctx context.Context, j Job, q FailedQuery) (FailedPage, error) {
	var page FailedPage
	if q.Limit <= 0 {
		q.Limit = defaultFailed
	}
	q.Limit = min(q.Limit, maxFailed)
	if j.Failed == 0 {
		return page, nil
	}
	until := time.Now().Add(maxPause)
	for q.Chunk >= 0 {
		chunks, next, err := in.failedChunks(ctx, j, q.Chunk)
		if err != nil {
			return page, err
		}
		if full, err := in.fillPage(ctx, j, q, chunks, &page); full || err != nil {
			return page, err
		}
		q.Chunk, q.Skip = next, 0
		if next >= 0 && (len(page.Calls) >= q.Limit || time.Now().After(until)) {
			page.More, page.Next = true, q
			return page, nil
		}
	}
	return page, nil
}

// fillPage adds the failed calls of chunks to the page, until it is full.
func (in *Inspector) fillPage(ctx context.Context, j Job, q FailedQuery, chunks []int, page *FailedPage) (full bool, err error) {
	next := func(chunk, skip int) {
		page.More, page.Next = true, FailedQuery{Limit: q.Limit, Chunk: chunk, Skip: skip, Preview: q.Preview}
	}
	for len(chunks) > 0 {
		n := min(len(chunks), q.Limit, 100)
		sizes, err := in.failedSizes(ctx, j, chunks[:n])
		if err != nil {
			return true, err
		}
		for i, k := range chunks[:n] {
			if sizes[i] > maxFailedBytes {
				page.TooLarge = append(page.TooLarge, k)
				continue
			}
			if page.bytes += sizes[i]; page.bytes > maxFailedBytes {
				next(k, 0)
				return true, nil
			}
			calls, err := in.failedOf(ctx, j, k, q.Preview)
			if err != nil {
				return true, err
			}
			skip := 0
			if k == q.Chunk {
				skip = min(q.Skip, len(calls))
			}
			calls = calls[skip:]
			room := q.Limit - len(page.Calls)
			page.Calls = append(page.Calls, calls[:min(room, len(calls))]...)
			if len(calls) > room {
				next(k, skip+room)
				return true, nil
			}
		}
		if chunks = chunks[n:]; len(chunks) > 0 && len(page.Calls) >= q.Limit {
			next(chunks[0], 0)
			return true, nil
		}
	}
	return false, nil
}

// failedChunks lists chunks with failed calls from the given one on, in order. next is where to
// go on, -1 if these are all.
func (in *Inspector) failedChunks(ctx context.Context, j Job, from int) (failed []int, next int, err error) {
	stands, known, err := in.standing(ctx, j)
	if err != nil {
		return nil, 0, err
	}
	if known {
		for k, is := range stands {
			if is == hasFailed && k >= from {
				failed = append(failed, k)
			}
		}
		slices.Sort(failed)
		return failed, -1, nil
	}
	n := max(0, min(sampleChunks, j.Chunks-from))
	chunks := make([]int, n)
	for i := range chunks {
		chunks[i] = from + i
	}
	some, err := in.stands(ctx, j, chunks)
	for i, is := range some {
		if is == hasFailed {
			failed = append(failed, chunks[i])
		}
	}
	if next = from + n; next >= j.Chunks {
		next = -1
	}
	return failed, next, err
}

// failedFields are where the frames of chunks with failed calls are: of each chunk its
// outcomes, then its arguments.
func failedFields(chunks []int) []string {
	fields := make([]string, 0, 2*len(chunks))
	for _, k := range chunks {
		fields = append(fields, job.OutOf(k), job.KeptOf(k))
	}
	return fields
}

// failedSizes is how much there is to read of each chunk.
func (in *Inspector) failedSizes(ctx context.Context, j Job, chunks []int) ([]int, error) {
	each, err := in.frameSizes(ctx, j, failedFields(chunks))
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(chunks))
	for i := range sizes {
		sizes[i] = each[2*i] + each[2*i+1]
	}
	return sizes, nil
}

// FailedChunk is a chunk with failed calls.
type FailedChunk struct {
	Chunk int
	First int              // index in the job of its first call
	Calls int              // calls in it
	Error []wire.CallError // the failed ones, by their place in the chunk
	// Args are the codec's array of the arguments of all its calls. They are nil
	// when they were not kept: the arguments of failed calls of a job are kept up to
	// 64 MiB.
	Args []byte

	// OutcomeFrame and ArgsFrame are what the record has, signatures included, for
	// those who check and open them. Without keys they are what Error and Args say.
	OutcomeFrame, ArgsFrame []byte
}

// readFailed reads chunks. It leaves out those of which there
// is nothing to read: the outcomes of a stream leave Redis once they are taken.
func (in *Inspector) readFailed(ctx context.Context, j Job, chunks []int) ([]FailedChunk, error) {
	frames, err := in.frames(ctx, j, failedFields(chunks))
	if err != nil {
		return nil, err
	}
	found := make([]FailedChunk, 0, len(chunks))
	for i, k := range chunks {
		frame, kept := frames[2*i], frames[2*i+1]
		if frame == nil {
			continue
		}
		o, err := wire.ParseOutcome(frame)
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w", k, err)
		}
		f := FailedChunk{Chunk: k, First: o.First, Calls: o.Calls, Error: o.Errors, OutcomeFrame: frame}
		if len(kept) > 0 {
			first, n, data, err := wire.ParseArgs(kept)
			if err != nil || first != o.First || n != o.Calls {
				return nil, fmt.Errorf("chunk %d: the arguments that were kept are not those of its outcomes: %w", k, err)
			}
			f.Args, f.ArgsFrame = data, kept
		}
		found = append(found, f)
	}
	return found, nil
}

func (in *Inspector) failedOf(ctx context.Context, j Job, chunk, preview int) ([]FailedCall, error) {
	found, err := in.readFailed(ctx, j, []int{chunk})
	if len(found) == 0 || err != nil {
		return nil, err
	}
	f := found[0]
	indexes := make([]int, len(f.Error))
	for i, e := range f.Error {
		indexes[i] = e.Call
	}
	frames := in.framesOf(signing.Ref{ID: j.ID, Gen: j.Gen}, j.Task, chunk)
	codec, args, note := in.open(j.Codec, frames, f.First, f.Calls, f.Args)
	previews := previewCalls(codec, args, note, indexes, preview)
	calls := make([]FailedCall, len(f.Error))
	for i, e := range f.Error {
		if in.keys != nil {
			// Each alone: one that does not open keeps saying that it is encrypted.
			o, err := frames.OpenOutcome(sealing.Outcomes, wire.Outcome{First: f.First, Calls: f.Calls, Errors: []wire.CallError{e}})
			if err == nil {
				e = o.Errors[0]
			}
		}
		calls[i] = FailedCall{Chunk: chunk, Call: f.First + e.Call, Error: e, Args: previews[i]}
	}
	return calls, nil
}

// EachFailedChunk calls f for each chunk of the job that has failed calls, in
// order, until f returns an error, which it returns. It is for those who want to
// run these calls again, and reads all of them, up to a hundred chunks and about
// 8 MiB at a time.
func (in *Inspector) EachFailedChunk(ctx context.Context, id string, f func(FailedChunk) error) error {
	j, err := in.one(ctx, id)
	if err != nil || j.Failed == 0 {
		return err
	}
	if err := in.eachFailed(ctx, j, f); err != nil {
		return fmt.Errorf("the failed calls of job %s: %w", id, err)
	}
	return nil
}

func (in *Inspector) eachFailed(ctx context.Context, j Job, f func(FailedChunk) error) error {
	for from := 0; from >= 0; {
		chunks, next, err := in.failedChunks(ctx, j, from)
		if err != nil {
			return err
		}
		from = next
		for group := range slices.Chunk(chunks, 100) {
			if err := in.eachOf(ctx, j, group, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *Inspector) eachOf(ctx context.Context, j Job, chunks []int, f func(FailedChunk) error) error {
	sizes, err := in.failedSizes(ctx, j, chunks)
	if err != nil {
		return err
	}
	for len(chunks) > 0 {
		n, bytes := 1, sizes[0]
		for n < len(chunks) && bytes+sizes[n] <= maxFailedBytes {
			bytes += sizes[n]
			n++
		}
		found, err := in.readFailed(ctx, j, chunks[:n])
		if err != nil {
			return err
		}
		for _, c := range found {
			if err := f(c); err != nil {
				return err
			}
		}
		chunks, sizes = chunks[n:], sizes[n:]
	}
	return nil
}
