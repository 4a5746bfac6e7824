package job

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A large frame does not enter scripts, since Redis's Lua takes ten times as long with a
// MiB as a plain command. Store puts it into a key of its own; the scripts get a reference
// in its place, which makes the frame the job's. A frame that no script makes a job's goes
// by itself.

const (
	// LargeFrame is the smallest size of a frame that is kept apart, in bytes.
	LargeFrame = 64 << 10
	// unclaimed is how long a frame lives that no script has made a job's.
	unclaimed = 10 * time.Minute
)

// reference is what a script gets in place of a large frame: its token and its size.
var reference = regexp.MustCompile(`^@ (\w+) (\d+)$`)

func frameKey(lane, name, token string) string {
	return Prefix(lane) + "frame:" + name + ":" + token
}

// IsReference reports whether frame is the reference to a large one, or claims to be. No
// other frame begins with its first byte.
func IsReference(frame []byte) bool { return len(frame) > 0 && frame[0] == '@' }

// Store puts the large frames of a job into keys of their own, and
// returns the frames with references in place of these. The tokens are drawn, so no
// reference is ever to another frame than its own.
func Store(ctx context.Context, c redis.Cmdable, lane, name string, frames ...[]byte) ([][]byte, error) {
	stored := make([][]byte, len(frames))
	large := c.Pipeline()
	for i, frame := range frames {
		stored[i] = frame
		if len(frame) >= LargeFrame {
			token := rand.Text()
			large.Set(ctx, frameKey(lane, name, token), frame, unclaimed)
			stored[i] = fmt.Appendf(nil, "@ %s %d", token, len(frame))
		}
	}
	if large.Len() == 0 {
		return stored, nil
	}
	_, err := large.Exec(ctx)
	return stored, err
}

// Discard removes stored frames that no script has made the job's.
func Discard(ctx context.Context, c redis.Scripter, lane, name string, stored ...[]byte) error {
	args := []any{lane, name}
	for _, frame := range stored {
		if m := reference.FindSubmatch(frame); m != nil {
			args = append(args, m[1])
		}
	}
	if len(args) == 2 {
		return nil
	}
	return run(ctx, c, discardScript, lane, args).Err()
}

// ErrFrameGone says that a large frame is not there although a job refers to it: the chunk
// or the job was over before it could be read, or Redis has lost it.
var ErrFrameGone = errors.New("a large frame is not there")

// Load returns the frame, or the large one that it is a reference to.
func Load(ctx context.Context, c redis.Cmdable, lane, name string, frame []byte) ([]byte, error) {
	if !IsReference(frame) {
		return frame, nil
	}
	m := reference.FindSubmatch(frame)
	if m == nil {
		return nil, fmt.Errorf("%w: job %s: %.80q is no reference to a large frame", errDamaged, name, frame)
	}
	large, err := c.Get(ctx, frameKey(lane, name, string(m[1]))).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrFrameGone
	case err != nil:
		return nil, damagedIfWrongType(err)
	case strconv.Itoa(len(large)) != string(m[2]):
		return nil, fmt.Errorf("%w: job %s: a large frame has %d bytes, its reference says %s", errDamaged, name, len(large), m[2])
	}
	return large, nil
}
