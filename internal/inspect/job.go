package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/record"
)

// Detail is one job with what goes on in it.
type Detail struct {
	Job
	Cells   []Cell            // its chunks, in order; of an inline job, one
	Sampled bool              // Cells are an estimate from a sample of the chunks
	Runs    []record.ChunkRun // chunks that workers hold or have given back, oldest first; maxRuns at the most
	RunsAll int               // how many there are
	Workers []string          // who holds chunks, as far as Runs tells
}

const (
	// maxRuns bounds the chunks that are shown one by one.
	maxRuns = 200
	// exactChunks is how many chunks are looked at one by one. Above it a sample of
	// sampleChunks tells.
	exactChunks  = 20_000
	sampleChunks = 4000
)

// Job reads one job. cells is how many cells its chunks are drawn in at the most.
// What is read is bounded: names of 20,000 chunks, and no arguments or values.
func (in *Inspector) Job(ctx context.Context, id string, cells int) (Detail, error) {
	j, err := in.one(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	d := Detail{Job: j}
	if err := in.fillDetail(ctx, &d, max(1, cells)); err != nil {
		return Detail{}, fmt.Errorf("reading the chunks of job %s: %w", id, err)
	}
	return d, nil
}

// one reads one job, which must exist.
func (in *Inspector) one(ctx context.Context, id string) (Job, error) {
	id, err := address(id)
	if err != nil {
		return Job{}, err
	}
	jobs, err := in.Look(ctx, []string{id})
	if err != nil {
		return Job{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	if jobs[0].State == record.Gone {
		return Job{}, fmt.Errorf("job %s: %w", id, ErrNoJob)
	}
	return jobs[0], nil
}

func (in *Inspector) fillDetail(ctx context.Context, d *Detail, cells int) error {
	if d.Inline {
		in.fillInline(d)
		return nil
	}
	begun, failed, err := in.runFields(ctx, d.Snapshot)
	if err != nil {
		return err
	}
	if d.Status.Over() {
		begun = nil // what is left of them says nothing
	}
	slices.Sort(begun)
	d.RunsAll = len(begun)
	if d.Runs, err = record.Runs(ctx, in.rdb, d.ID, begun[:min(len(begun), maxRuns)]); err != nil {
		return err
	}
	held := slices.Clone(begun)
	for _, r := range d.Runs {
		if r.Owner == "" {
			held = slices.DeleteFunc(held, func(k int) bool { return k == r.Chunk })
		} else if !slices.Contains(d.Workers, r.Owner) {
			d.Workers = append(d.Workers, r.Owner)
		}
	}
	slices.SortFunc(d.Runs, func(a, b record.ChunkRun) int { return int(a.Since - b.Since) })
	slices.Sort(d.Workers)
	return in.fillCells(ctx, d, cells, held, failed)
}

func (in *Inspector) fillInline(d *Detail) {
	c := Cell{First: 0, Chunks: 1}
	switch {
	case d.Recorded > 0 && d.Failed > 0:
		c.Failed = 1
	case d.Recorded > 0:
		c.Done = 1
	case d.Owner != "":
		c.Running = 1
		d.Runs = []record.ChunkRun{{Owner: d.Owner, Since: d.Begun, Saved: d.Done}}
		d.RunsAll, d.Workers = 1, []string{d.Owner}
	}
	d.Cells = []Cell{c}
}

// runFields lists the chunks that somebody has begun, and those with failed
// calls; of very many, some.
func (in *Inspector) runFields(ctx context.Context, s record.Snapshot) (begun, failed []int, err error) {
	key := record.Keys(s.ID)[4]
	n, err := in.rdb.HLen(ctx, key).Result()
	if err != nil || n == 0 {
		return nil, nil, err
	}
	var fields []string
	if n <= 2*exactChunks {
		fields, err = in.rdb.HKeys(ctx, key).Result()
	} else {
		fields, err = in.rdb.HRandField(ctx, key, exactChunks).Result()
	}
	if err != nil {
		return nil, nil, err
	}
	begun, failed = record.RunFields(fields)
	return begun, failed, nil
}

// Waited is how long the job waited for its first chunk to begin, as far as the
// record tells: it does for jobs of one chunk.
func (j Job) Waited() (time.Duration, bool) {
	if !j.Inline || j.Begun == 0 {
		return 0, false
	}
	return max(0, time.Duration(j.Begun-max(j.Created, j.Start))*time.Millisecond), true
}
