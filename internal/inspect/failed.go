package inspect

import (
	"context"
	"fmt"
	"slices"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/sealing"
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
	Some     bool        // there are so many chunks with failed calls that these are some of them
}

const (
	defaultFailed = 20
	maxFailed     = 500
	// maxFailedBytes bounds what one page reads of arguments and outcomes.
	maxFailedBytes = 8 << 20
)

// FailedCalls reads failed calls of a job. It reads 8 MiB of arguments and
// outcomes at the most.
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
	chunks, err := in.failedChunks(ctx, j)
	if err != nil {
		return page, err
	}
	if !j.Inline && j.Chunks > exactChunks {
		page.Some = len(chunks) >= exactChunks/2
	}
	at, _ := slices.BinarySearch(chunks, q.Chunk)
	chunks = chunks[at:]
	left := maxFailedBytes
	for len(chunks) > 0 {
		n := min(len(chunks), q.Limit, 100)
		sizes, err := in.failedSizes(ctx, j.Snapshot, chunks[:n])
		if err != nil {
			return page, err
		}
		for i, k := range chunks[:n] {
			if sizes[i] > maxFailedBytes {
				page.TooLarge = append(page.TooLarge, k)
				continue
			}
			if sizes[i] > left {
				page.More, page.Next = true, FailedQuery{Limit: q.Limit, Chunk: k, Preview: q.Preview}
				return page, nil
			}
			left -= sizes[i]
			calls, err := in.failedOf(ctx, j, k, q.Preview)
			if err != nil {
				return page, err
			}
			skip := 0
			if k == q.Chunk {
				skip = min(q.Skip, len(calls))
			}
			calls = calls[skip:]
			room := q.Limit - len(page.Calls)
			page.Calls = append(page.Calls, calls[:min(room, len(calls))]...)
			if len(calls) > room {
				page.More, page.Next = true, FailedQuery{Limit: q.Limit, Chunk: k, Skip: skip + room, Preview: q.Preview}
				return page, nil
			}
		}
		if chunks = chunks[n:]; len(chunks) > 0 && len(page.Calls) >= q.Limit {
			page.More, page.Next = true, FailedQuery{Limit: q.Limit, Chunk: chunks[0], Preview: q.Preview}
			return page, nil
		}
	}
	return page, nil
}

// failedChunks lists the chunks with failed calls, in order; of very many, some.
func (in *Inspector) failedChunks(ctx context.Context, j Job) ([]int, error) {
	if j.Inline {
		return []int{0}, nil
	}
	_, failed, err := in.runFields(ctx, j.Snapshot)
	slices.Sort(failed)
	return failed, err
}

// failedPlaces are where the frames of chunks with failed calls are: of each chunk its
// outcomes, then its arguments.
func failedPlaces(s record.Snapshot, chunks []int) []place {
	places := make([]place, 0, 2*len(chunks))
	for _, k := range chunks {
		key, field := record.OutField(s, k)
		places = append(places, place{key, field})
		key, field = record.FailedField(s, k)
		places = append(places, place{key, field})
	}
	return places
}

// failedSizes is how much there is to read of each chunk.
func (in *Inspector) failedSizes(ctx context.Context, s record.Snapshot, chunks []int) ([]int, error) {
	each, err := in.frameSizes(ctx, failedPlaces(s, chunks))
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

// failedChunk reads one. It is nil when there is nothing to read.
func (in *Inspector) failedChunk(ctx context.Context, s record.Snapshot, chunk int) (*FailedChunk, error) {
	found, err := in.readFailed(ctx, s, []int{chunk})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// readFailed reads chunks, in one round trip. It leaves out those of which there
// is nothing to read: the outcomes of a stream leave Redis once they are taken.
func (in *Inspector) readFailed(ctx context.Context, s record.Snapshot, chunks []int) ([]FailedChunk, error) {
	frames, err := in.readFrames(ctx, s.ID, failedPlaces(s, chunks))
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
	f, err := in.failedChunk(ctx, j.Snapshot, chunk)
	if f == nil || err != nil {
		return nil, err
	}
	indexes := make([]int, len(f.Error))
	for i, e := range f.Error {
		indexes[i] = e.Call
	}
	frames := in.framesOf(record.Ref{ID: j.ID, Gen: j.Gen}, j.Task, chunk)
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
	chunks := []int{0}
	if !j.Inline {
		fields, err := in.rdb.HKeys(ctx, record.Keys(j.ID)[4]).Result()
		if err != nil {
			return err
		}
		_, chunks = record.RunFields(fields)
		slices.Sort(chunks)
	}
	for group := range slices.Chunk(chunks, 100) {
		sizes, err := in.failedSizes(ctx, j.Snapshot, group)
		if err != nil {
			return err
		}
		for len(group) > 0 {
			n, bytes := 1, sizes[0]
			for n < len(group) && bytes+sizes[n] <= maxFailedBytes {
				bytes += sizes[n]
				n++
			}
			found, err := in.readFailed(ctx, j.Snapshot, group[:n])
			if err != nil {
				return err
			}
			for _, c := range found {
				if err := f(c); err != nil {
					return err
				}
			}
			group, sizes = group[n:], sizes[n:]
		}
	}
	return nil
}
