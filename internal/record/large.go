package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis's Lua looks at every byte of every string that enters a script: a MiB takes
// ten times as long as by a plain command. So a large frame does not enter scripts. A
// plain command puts it into a key of its own, in the pipeline in which the script
// comes right after it; the script stores a reference to it, which makes it the job's,
// and whoever finds the reference gets the frame by a plain command. The key is in the
// job's slot. Its name is drawn, so that nobody ever overwrites what a reference is to.
//
// All that is decided is decided by the script. A frame that it does not store, since
// the chunk is recorded for instance, is deleted by it; and one for which no script
// comes goes by itself after orphanTTL.
//
// No request may be larger than the smallest limit that a Redis can have: 1 MiB
// (proto-max-bulk-len, client-query-buffer-limit, some managed services). So a large
// frame travels in pieces, each with a key of its own.

const (
	// pieceSize is how many bytes of a large frame one key holds. lua/common.lua knows it
	// too.
	pieceSize = 512 << 10
	// LargeFrame is how large a frame has to be.
	LargeFrame = 64 << 10
	// orphanTTL is how long a large frame lives before a script makes it the job's.
	orphanTTL = 10 * time.Minute
	// largeMark starts a reference, "@ <token> <bytes>". No frame starts with it.
	largeMark = '@'
)

// large is an argument of a script that does not enter it: the script gets the
// reference in its place.
type large struct {
	keys      []string // one for each piece of the frame
	reference string
	frame     []byte
}

// MarshalBinary is asked by go-redis for what to send.
func (l large) MarshalBinary() ([]byte, error) { return []byte(l.reference), nil }

// frameArg is a frame as the argument of a script; apart from it if it is large, and
// all readers know references, or it is too large for one request.
func frameArg(job string, frame []byte, apart bool) any {
	if len(frame) < LargeFrame || !apart && len(frame) <= pieceSize {
		return frame
	}
	token := rand.Text()
	return large{largeKeys(job, token, len(frame)), fmt.Sprintf("%c %s %d", largeMark, token, len(frame)), frame}
}

// largeKeys are the keys of the pieces of a large frame.
func largeKeys(job, token string, size int) []string {
	keys := []string{Keys(job)[0] + ":blob:" + token}
	for i := 1; i < (size+pieceSize-1)/pieceSize; i++ {
		keys = append(keys, keys[0]+":"+strconv.Itoa(i))
	}
	return keys
}

// larges are the arguments that are large.
func (o Op) larges() []large {
	var ls []large
	for _, a := range o.args {
		if l, ok := a.(large); ok {
			ls = append(ls, l)
		}
	}
	return ls
}

// declared is the transition with the keys of its large arguments among its own: in a
// Cluster a script must name what it touches.
func (o Op) declared() Op {
	for _, l := range o.larges() {
		o.keys = append(o.keys, l.keys...)
	}
	return o
}

// put adds the pieces of the frames to a pipeline. A piece that is there stays: it is the
// same, from an earlier try, and may be the job's by now, with another time to live.
func put(ctx context.Context, p redis.Cmdable, ls []large) []*redis.BoolCmd {
	var cmds []*redis.BoolCmd
	for _, l := range ls {
		for i, key := range l.keys {
			piece := l.frame[i*pieceSize : min((i+1)*pieceSize, len(l.frame))]
			cmds = append(cmds, p.SetNX(ctx, key, piece, orphanTTL))
		}
	}
	return cmds
}

// DropLarge removes the large arguments of a transition of which it is not known whether
// it happened, and whose job has been forgotten.
func (o Op) DropLarge(ctx context.Context, c redis.Cmdable) error {
	ls := o.larges()
	if len(ls) == 0 {
		return nil
	}
	var keys []string
	for _, l := range ls {
		keys = append(keys, l.keys...)
	}
	return c.Del(ctx, keys...).Err()
}

// runApart is Run of a transition with large arguments.
func (o Op) runApart(ctx context.Context, c redis.Scripter) *redis.Cmd {
	client, ok := c.(interface{ Pipeline() redis.Pipeliner })
	if !ok {
		panic(fmt.Sprintf("distpool: %T has no pipelines", c)) // every client of go-redis has
	}
	p := client.Pipeline()
	queued := o.Queue(ctx, p)
	_, _ = p.Exec(ctx) // the errors are the commands' own
	cmd := queued.Reply()
	if IsNoScript(cmd.Err()) {
		return o.script.Eval(ctx, c, o.keys, o.args...)
	}
	return cmd
}

var reference = regexp.MustCompile(`^@ ([A-Z2-7]{26}) ([0-9]{1,10})$`)

// ErrLargeGone says that a large frame is not there although there is a reference to
// it: the chunk or the job was over before it could be read, or Redis has lost it.
var ErrLargeGone = errors.New("a large frame is not there")

// IsReference reports whether frame is the reference to a large one, or claims to be.
func IsReference(frame []byte) bool { return len(frame) > 0 && frame[0] == largeMark }

// LargeSize is the size of the frame that the reference is to, and of a frame its own.
func LargeSize(frame []byte) int {
	if m := reference.FindSubmatch(frame[:min(len(frame), 64)]); m != nil {
		size, _ := strconv.Atoi(string(m[2]))
		return size
	}
	return len(frame)
}

// LargeRead is the reading of a large frame, in a pipeline.
type LargeRead struct {
	pieces []*redis.StringCmd // none: the reference is none
	size   int
	err    error
}

// QueueLarge adds the reading of what the reference is to.
func QueueLarge(ctx context.Context, p redis.Cmdable, job string, frame []byte) LargeRead {
	keys := keysOfReference(job, frame)
	if keys == nil {
		return LargeRead{err: fmt.Errorf("%w: job %s: %.80q is no reference to a large frame", errCorrupt, job, frame)}
	}
	r := LargeRead{size: LargeSize(frame)}
	for _, key := range keys {
		r.pieces = append(r.pieces, p.Get(ctx, key))
	}
	return r
}

// mostReferred is more than any frame has: a reference to more bytes is damaged.
const mostReferred = 1 << 30

// keysOfReference are the keys of what the reference is to; nil if it is none.
func keysOfReference(job string, frame []byte) []string {
	m := reference.FindSubmatch(frame[:min(len(frame), 64)])
	if m == nil || LargeSize(frame) > mostReferred {
		return nil
	}
	return largeKeys(job, string(m[1]), LargeSize(frame))
}

// Frame is what was read; ErrLargeGone if there is nothing.
func (r LargeRead) Frame() ([]byte, error) {
	if r.pieces == nil {
		return nil, r.err
	}
	var frame []byte
	for i, cmd := range r.pieces {
		piece, err := cmd.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			return nil, ErrLargeGone
		case err != nil:
			return nil, wrongType(err)
		case len(r.pieces) == 1:
			frame = piece
		case i == 0:
			frame = append(make([]byte, 0, r.size), piece...)
		default:
			frame = append(frame, piece...)
		}
	}
	if len(frame) != r.size {
		return nil, fmt.Errorf("%w: a large frame has %d bytes, its reference says %d", errCorrupt, len(frame), r.size)
	}
	return frame, nil
}

// Whole returns the frame, or the large one that it is a reference to.
func Whole(ctx context.Context, c redis.Cmdable, job string, frame []byte) ([]byte, error) {
	if !IsReference(frame) {
		return frame, nil
	}
	return QueueLarge(ctx, c, job, frame).Frame()
}

// StillWaits reports whether the chunk of a live job still waits for its outcomes,
// with the arguments that a reference was found to. If it does, and they are not
// there, they are lost; otherwise it was over before they could be read.
func StillWaits(ctx context.Context, c redis.Cmdable, job Ref, chunk int, args []byte) (bool, error) {
	for _, inline := range []bool{true, false} {
		key, field := ArgsField(Snapshot{ID: job.ID, Inline: inline}, chunk)
		now, err := c.HGet(ctx, key, field).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, wrongType(err)
		}
		if err == nil && bytes.Equal(now, args) {
			return true, nil
		}
	}
	return false, nil
}
