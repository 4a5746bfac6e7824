package inspect

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// Cell is some consecutive chunks of a job. What is none of the four waits.
type Cell struct {
	First  int // chunk
	Chunks int
	Done   int // chunks with outcomes, all of them values
	Failed int // chunks with outcomes, some of them failures
	// Running is how many chunks workers hold.
	Running int
}

// Waiting is how many chunks of the cell have no outcomes and nobody holds.
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

// fillCells counts chunks into cells. Chunks that workers hold, and those with
// failed calls, are known; of the others it asks which have outcomes.
func (in *Inspector) fillCells(ctx context.Context, d *Detail, n int, held, failed []int) error {
	if d.Chunks == 0 {
		return nil
	}
	cells := divide(d.Chunks, n)
	d.Cells = cells
	within := func(k int) bool { return k >= 0 && k < d.Chunks }
	for _, k := range failed {
		if within(k) {
			cells[cellOf(cells, k)].Failed++
		}
	}
	if d.State == record.Done {
		// All others have values. Failed chunks of a job that is this large were
		// perhaps not all listed.
		for i := range cells {
			cells[i].Done = cells[i].Chunks - cells[i].Failed
		}
		return nil
	}
	for _, k := range held {
		if within(k) {
			cells[cellOf(cells, k)].Running++
		}
	}
	missing, known, err := in.withoutOutcomes(ctx, d)
	if err != nil {
		return err
	}
	if !known {
		d.Sampled = true
		return in.sampleCells(ctx, d)
	}
	for i := range cells {
		cells[i].Done = cells[i].Chunks - cells[i].Failed
	}
	for _, k := range missing {
		if within(k) {
			cells[cellOf(cells, k)].Done--
		}
	}
	for i := range cells {
		cells[i].Done = max(0, cells[i].Done)
	}
	return nil
}

// withoutOutcomes lists the chunks without outcomes, if that can be known from
// few enough names.
func (in *Inspector) withoutOutcomes(ctx context.Context, d *Detail) (missing []int, known bool, err error) {
	keys := record.Keys(d.ID)
	if !d.Status.Over() {
		// A chunk has its arguments in the record until it has outcomes.
		if d.Chunks-d.Recorded > exactChunks {
			return nil, false, nil
		}
		names, err := in.rdb.HKeys(ctx, keys[1]).Result()
		return numbers(names), err == nil, err
	}
	// Canceled: the arguments are gone, and the order of recordings tells.
	if d.Recorded > exactChunks || d.Chunks > 50*exactChunks {
		return nil, false, nil
	}
	names, err := in.rdb.LRange(ctx, keys[3], 0, exactChunks).Result()
	if err != nil {
		return nil, false, err
	}
	has := make(map[int]bool, len(names))
	for _, k := range numbers(names) {
		has[k] = true
	}
	for k := range d.Chunks {
		if !has[k] {
			missing = append(missing, k)
		}
	}
	return missing, true, nil
}

func numbers(names []string) []int {
	ks := make([]int, 0, len(names))
	for _, s := range names {
		if k, err := strconv.Atoi(s); err == nil {
			ks = append(ks, k)
		}
	}
	return ks
}

// sampleCells estimates how many chunks of each cell have outcomes, by asking for
// a few of them, in one round trip.
func (in *Inspector) sampleCells(ctx context.Context, d *Detail) error {
	each := max(1, sampleChunks/len(d.Cells))
	key, has := record.Keys(d.ID)[1], false // it has its arguments: no outcomes yet
	if d.Status.Over() {
		key, has = record.Keys(d.ID)[2], true
	}
	asked := make([][]*redis.BoolCmd, len(d.Cells))
	_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range d.Cells {
			for range min(each, c.Chunks) {
				asked[i] = append(asked[i], p.HExists(ctx, key, strconv.Itoa(c.First+rand.IntN(c.Chunks))))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		n := 0
		for _, cmd := range asked[i] {
			if cmd.Val() == has {
				n++
			}
		}
		c.Done = min(c.Chunks*n/len(asked[i]), c.Chunks-c.Running)
		c.Done = max(0, c.Done-c.Failed)
	}
	return nil
}
