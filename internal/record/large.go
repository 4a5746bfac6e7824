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

const (
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
	key, reference string
	frame          []byte
}

// MarshalBinary is asked by go-redis for what to send.
func (l large) MarshalBinary() ([]byte, error) { return []byte(l.reference), nil }

// frameArg is a frame as the argument of a script; apart from it if it is large, and
// those who will read it know references.
func frameArg(job string, frame []byte, apart bool) any {
	if !apart || len(frame) < LargeFrame {
		return frame
	}
	token := rand.Text()
	return large{largeKey(job, token), fmt.Sprintf("%c %s %d", largeMark, token, len(frame)), frame}
}

func largeKey(job, token string) string { return Keys(job)[0] + ":blob:" + token }

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
		o.keys = append(o.keys, l.key)
	}
	return o
}

// put adds the frames to a pipeline. One that is there stays: it is the same, from an
// earlier try, and may be the job's by now, with another time to live.
func put(ctx context.Context, p redis.Cmdable, ls []large) []*redis.BoolCmd {
	cmds := make([]*redis.BoolCmd, len(ls))
	for i, l := range ls {
		cmds[i] = p.SetNX(ctx, l.key, l.frame, orphanTTL)
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
	keys := make([]string, len(ls))
	for i, l := range ls {
		keys[i] = l.key
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
	cmd  *redis.StringCmd // nil: the reference is none
	size int
	err  error
}

// QueueLarge adds the reading of what the reference is to.
func QueueLarge(ctx context.Context, p redis.Cmdable, job string, frame []byte) LargeRead {
	key, ok := keyOfReference(job, frame)
	if !ok {
		return LargeRead{err: fmt.Errorf("%w: job %s: %.80q is no reference to a large frame", errCorrupt, job, frame)}
	}
	return LargeRead{cmd: p.Get(ctx, key), size: LargeSize(frame)}
}

func keyOfReference(job string, frame []byte) (key string, ok bool) {
	m := reference.FindSubmatch(frame[:min(len(frame), 64)])
	if m == nil {
		return "", false
	}
	return largeKey(job, string(m[1])), true
}

// Frame is what was read; ErrLargeGone if there is nothing.
func (r LargeRead) Frame() ([]byte, error) {
	if r.cmd == nil {
		return nil, r.err
	}
	frame, err := r.cmd.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrLargeGone
	case err != nil:
		return nil, wrongType(err)
	case len(frame) != r.size:
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
