package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/job"
)

// Detail is one job with what goes on in it.
type Detail struct {
	Job
	Cells   []Cell     // its chunks, in order
	Sampled bool       // Cells are an estimate from a sample of the chunks
	Runs    []ChunkRun // chunks that workers hold, the oldest first, then those given back; maxRuns at the most
	RunsAll int        // how many there are; of a very large job, as far as known
	Workers []string   // the workers that hold chunks, as far as Runs tells
}

const (
	// maxRuns bounds the chunks that are shown one by one.
	maxRuns = 200
	// exactChunks is how many chunks are looked at one by one. Above it a sample of
	// sampleChunks tells.
	exactChunks  = 20_000
	sampleChunks = 4000
	// exactFields is how many names of fields of a record are read: a chunk has two.
	exactFields = 2*exactChunks + 50
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
	a, _, err := in.find(ctx, id)
	if err != nil {
		return Job{}, err
	}
	jobs, err := in.Look(ctx, []string{a.String()})
	if err != nil {
		return Job{}, fmt.Errorf("reading job %s: %w", a, err)
	}
	if jobs[0].State == job.Gone {
		return Job{}, fmt.Errorf("job %s: %w", a, ErrNoJob)
	}
	return jobs[0], nil
}

func (in *Inspector) fillDetail(ctx context.Context, d *Detail, cells int) error {
	if d.Chunks == 0 {
		return nil
	}
	d.Cells = divide(d.Chunks, cells)
	stands, known, err := in.standing(ctx, d.Job)
	if err != nil {
		return err
	}
	var begun []int
	if known {
		begun = d.countCells(stands)
	} else {
		d.Sampled = true
		if begun, err = in.sample(ctx, d); err != nil {
			return err
		}
	}
	if d.Status.Over() {
		return nil // what is left of runs says nothing
	}
	slices.Sort(begun)
	d.RunsAll = len(begun)
	if d.Runs, err = in.runs(ctx, d.Job, begun[:min(len(begun), maxRuns)]); err != nil {
		return err
	}
	for _, r := range d.Runs {
		if r.Owner != "" && !slices.Contains(d.Workers, r.Owner) {
			d.Workers = append(d.Workers, r.Owner)
		}
	}
	slices.SortFunc(d.Runs, func(a, b ChunkRun) int { return cmp.Compare(a.Since, b.Since) })
	if i := slices.IndexFunc(d.Runs, func(r ChunkRun) bool { return r.Since > 0 }); i > 0 {
		d.Runs = append(d.Runs[i:], d.Runs[:i]...) // those that were given back, of which the time is unknown, come last
	}
	slices.Sort(d.Workers)
	return nil
}

// Waited is how long the job waited for its first chunk to begin, as far as the
// record tells: it does for jobs of one chunk.
func (j Job) Waited() (time.Duration, bool) {
	if j.Begun == 0 {
		return 0, false
	}
	return max(0, time.Duration(j.Begun-max(j.Created, j.Start))*time.Millisecond), true
}
