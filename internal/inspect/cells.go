package inspect

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/distpool/distpool/internal/job"
)

// Cell is some consecutive chunks of a job. What is none of the four waits.
type Cell struct {
	First  int // chunk
	Chunks int
	Done   int // chunks with outcomes, all of them values
	Failed int // chunks with outcomes, some of them failures
	// Running is how many chunks workers hold.
	Running int

	waiting int // those that are known to wait
}

// Waiting is how many chunks of the cell have no outcomes and no worker holds.
func (c Cell) Waiting() int { return max(0, c.Chunks-c.Done-c.Failed-c.Running) }

// Last is the last chunk of the cell.
func (c Cell) Last() int { return c.First + c.Chunks - 1 }

// divide makes n cells of chunks, as equal as can be.
func divide(chunks, n int) []Cell {
	n = min(n, chunks)
	cells := make([]Cell, n)
	for i := range cells {
		first, end := i*chunks/n, (i+1)*chunks/n
		cells[i] = Cell{First: first, Chunks: end - first}
	}
	return cells
}

// cellOf is the index of the cell that has the chunk.
func cellOf(cells []Cell, chunk int) int {
	i, found := slices.BinarySearchFunc(cells, chunk, func(c Cell, k int) int { return c.First - k })
	if !found {
		i--
	}
	return i
}

// early reports whether the job ended before its time. Its record may lack arguments then.
func (j Job) early() bool { return j.Status == Canceled || j.Status == Expired }

// countCells counts chunks into cells, from what standing says. It returns those that workers
// hold or have given back.
func (d *Detail) countCells(stands map[int]stand) (begun []int) {
	for k, is := range stands {
		if k < 0 || k >= d.Chunks {
			continue
		}
		c := &d.Cells[cellOf(d.Cells, k)]
		switch {
		case is == hasValues:
			c.Done++
		case is == hasFailed:
			c.Failed++
		case is == isRun && !d.Status.Over():
			c.Running++
			begun = append(begun, k)
		case is == givenBack:
			begun = append(begun, k)
			c.waiting++
		default:
			c.waiting++
		}
	}
	left := d.Recorded // chunks with outcomes that a stream has consumed: the first ones, as a rule
	for _, c := range d.Cells {
		left -= c.Done + c.Failed
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		rest := c.Chunks - c.Done - c.Failed - c.Running - c.waiting
		if d.early() {
			rest = min(rest, max(0, left))
			left -= rest
			d.Sampled = d.Sampled || rest > 0
		}
		c.Done += rest
	}
	return begun
}

// sample estimates how the chunks of each cell stand from some of them. Those that workers
// hold are known: their deliveries are active. It returns these.
func (in *Inspector) sample(ctx context.Context, d *Detail) (begun []int, err error) {
	if !d.Status.Over() {
		active, err := job.Active(ctx, in.rdb, d.lane)
		if err != nil {
			return nil, err
		}
		for _, id := range active {
			if of, ok := job.ParseTaskID(id); ok && of.Ref == d.Ref && of.Chunk < d.Chunks {
				begun = append(begun, of.Chunk)
			}
		}
		slices.Sort(begun)
		begun = slices.Compact(begun)
		for _, k := range begun {
			d.Cells[cellOf(d.Cells, k)].Running++
		}
	}
	each := max(1, sampleChunks/len(d.Cells))
	var chunks []int
	for _, c := range d.Cells {
		for range each {
			chunks = append(chunks, c.First+rand.IntN(c.Chunks))
		}
	}
	stands, err := in.stands(ctx, d.Job, chunks)
	if err != nil {
		return nil, err
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		done, failed := 0, 0
		for _, is := range stands[i*each : (i+1)*each] {
			switch is {
			case hasValues:
				done++
			case hasFailed:
				failed++
			}
		}
		c.Failed = min((c.Chunks*failed+each-1)/each, c.Chunks-c.Running)
		c.Done = min(c.Chunks*done/each, c.Chunks-c.Running-c.Failed)
	}
	return begun, nil
}
