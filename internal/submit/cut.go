package submit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

const (
	// chunkBytes is how large the arguments of an automatically sized chunk get.
	chunkBytes = 1 << 20
	// A round trip of a submission carries about this much at the most, and its script
	// this much of it: a Redis may refuse requests of more than 1 MiB.
	batchBytes  = 1 << 20
	scriptBytes = 512 << 10
	batchChunks = 250
	// maxChunk bounds a chunk of any size: Redis takes values of up to 512 MB.
	maxChunk = 256 << 20
)

// Encoder encodes the arguments of calls lo to hi-1.
type Encoder func(lo, hi int) ([]byte, error)

// Cutter cuts the calls of a job into encoded chunks.
type Cutter struct {
	Encode      Encoder
	Task        string // its name
	Calls       int    // known so far
	Size        int    // calls per chunk
	Exact       bool   // Size was asked for, and is kept
	MaxArgument int
	At          int // calls cut so far

	reduced int // calls per chunk for now, where Size is too many bytes; 0: Size
}

// Done reports whether all calls are cut.
func (c *Cutter) Done() bool { return c.At == c.Calls }

// Next cuts chunks, numbered from first, for one round trip.
func (c *Cutter) Next(first int) ([]job.Chunk, error) {
	var batch []job.Chunk
	bytes, inScript := 0, 0
	for c.At < c.Calls && len(batch) < batchChunks && bytes < batchBytes && inScript < scriptBytes {
		n, data, err := c.one()
		if err != nil {
			return nil, err
		}
		frame := wire.EncodeArgs(c.At, n, data)
		batch = append(batch, job.Chunk{})
		last := &batch[len(batch)-1]
		last.Number, last.Args = first+len(batch)-1, frame
		bytes += len(frame)
		if len(frame) < job.LargeFrame {
			inScript += len(frame)
		}
		c.At += n
	}
	return batch, nil
}

// one encodes the next chunk.
func (c *Cutter) one() (n int, data []byte, err error) {
	n = c.Size
	if c.reduced > 0 {
		n = c.reduced
	}
	n = min(n, c.Calls-c.At)
	for {
		if data, err = c.Encode(c.At, c.At+n); err != nil {
			return 0, nil, c.rebase(err, c.At)
		}
		if len(data) > c.MaxArgument {
			if n == 1 {
				return 0, nil, fmt.Errorf("the argument of call %d of %q encodes to %d bytes, more than Config.MaxArgument allows (%d); pass a reference to the data, or raise the limit", c.At, c.Task, len(data), c.MaxArgument)
			}
			if _, err := c.Culprit(c.At, n); err != nil {
				return 0, nil, err
			}
		}
		if c.Exact || n == 1 || len(data) <= chunkBytes {
			break
		}
		// Too much for an automatic chunk: aim at the bytes from what was seen, and
		// start the next chunk there too.
		n = min(n-1, max(1, n*chunkBytes/len(data)))
		c.reduced = n
	}
	if c.reduced > 0 && len(data) < chunkBytes/2 {
		c.reduced *= 2 // the large ones are behind us, it seems
		if c.reduced >= c.Size {
			c.reduced = 0
		}
	}
	if len(data) > maxChunk {
		return 0, nil, fmt.Errorf("%d calls from call %d on encode to %d bytes, more than the %d that fit into a chunk; use a smaller ChunkSize", n, c.At, len(data), maxChunk)
	}
	return n, data, nil
}

// rebase makes the index in an encoding error, which counts from call from,
// count from the start of the job.
func (c *Cutter) rebase(err error, from int) error {
	var ae *tasks.ArgError
	if !errors.As(err, &ae) {
		return err
	}
	moved := *ae
	moved.Call += from
	if c.Calls == 1 {
		moved.Call = -1 // there is only one: its index says nothing
	}
	return &moved
}

// Culprit finds the first of n calls from first on whose argument cannot be sent, and why.
func (c *Cutter) Culprit(first, n int) (at int, err error) {
	for at = first; at < first+n; at++ {
		one := *c
		one.At, one.Calls, one.Size, one.Exact, one.reduced = at, at+1, 1, true, 0
		if _, _, err = one.one(); err != nil {
			break
		}
	}
	return at, err
}

// rewind starts over.
func (c *Cutter) rewind() { c.At, c.reduced = 0, 0 }

// rule is what follow needs to cut the same arguments in the same way.
func (c *Cutter) rule() string {
	if c.Exact {
		return strconv.Itoa(c.Size)
	}
	return automaticCut + strconv.Itoa(c.Size)
}

// automaticCut marks a size that gives way where the arguments are large.
const automaticCut = "~"

// follow starts over, by the rule of another cutter.
func (c *Cutter) follow(rule string) error {
	digits, automatic := strings.CutPrefix(rule, automaticCut)
	size, err := strconv.Atoi(digits)
	if err != nil || size < 1 {
		return fmt.Errorf("%w: field cut is %q", await.ErrCorrupt, rule)
	}
	c.rewind()
	c.Size, c.Exact = size, !automatic
	return nil
}
