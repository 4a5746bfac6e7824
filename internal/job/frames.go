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
	// pieceSize is the size of the pieces in which a large frame travels, so that no request
	// has more than 1 MiB: the smallest limit that a Redis can have. With its header a piece fits into
	// 512 KiB, since Redis's allocator gives a byte more than that 640. frames.lua has it, too.
	pieceSize = 512<<10 - 64
	// maxLarge bounds what a reference may claim, in bytes.
	maxLarge = 512 << 20
	// unclaimed is how long a frame lives that no script has made a job's.
	unclaimed = 10 * time.Minute
)

// reference is what a script gets in place of a large frame: its token and its size.
var reference = regexp.MustCompile(`^@ (\w+) (\d+)$`)

func frameKey(lane, name, piece string) string {
	return Prefix(lane) + "frame:" + name + ":" + piece
}

// pieces names the pieces of a frame of so many bytes.
func pieces(token string, size int) []string {
	all := []string{token}
	for i := 1; i*pieceSize < size; i++ {
		all = append(all, token+":"+strconv.Itoa(i))
	}
	return all
}

// IsReference reports whether frame is the reference to a large one, or claims to be. No
// other frame begins with its first byte.
func IsReference(frame []byte) bool { return len(frame) > 0 && frame[0] == '@' }

// Store puts a large frame of a job into a key of its own, and returns the reference to it;
// any other frame is returned as it is. The token is drawn, so no reference is ever to another
// frame than its own.
func Store(ctx context.Context, c redis.Cmdable, lane, name string, frame []byte) ([]byte, error) {
	if len(frame) < LargeFrame {
		return frame, nil
	}
	p := c.Pipeline()
	stored := QueueStore(ctx, p, lane, name, frame)
	_, err := p.Exec(ctx)
	return stored, err
}

// QueueStore is Store in a pipeline.
func QueueStore(ctx context.Context, p redis.Pipeliner, lane, name string, frame []byte) []byte {
	if len(frame) < LargeFrame {
		return frame
	}
	token := rand.Text()
	for piece, part := range pieces(token, len(frame)) {
		p.Set(ctx, frameKey(lane, name, part), frame[piece*pieceSize:min((piece+1)*pieceSize, len(frame))], unclaimed)
	}
	return fmt.Appendf(nil, "@ %s %d", token, len(frame))
}

// ErrFrameGone says that a large frame is not there although a job refers to it: the chunk
// or the job was over before it could be read, or Redis has lost it.
var ErrFrameGone = errors.New("a large frame is not there")

// Load returns the frame, or the large one that it is a reference to.
func Load(ctx context.Context, c redis.Cmdable, lane, name string, frame []byte) ([]byte, error) {
	if !IsReference(frame) {
		return frame, nil
	}
	p := c.Pipeline()
	load := QueueLoad(ctx, p, lane, name, frame)
	_, _ = p.Exec(ctx) // each of the commands has its error
	return load()
}

// QueueLoad adds to a pipeline the reading of the large frame that ref is a reference to. The
// result returns it, once the pipeline has been executed.
func QueueLoad(ctx context.Context, p redis.Cmdable, lane, name string, ref []byte) func() ([]byte, error) {
	token, size, ok := parseReference(ref)
	if !ok {
		return func() ([]byte, error) {
			return nil, fmt.Errorf("%w: job %s: %.80q is no reference to a large frame", ErrDamaged, name, ref)
		}
	}
	var cmds []*redis.StringCmd
	for _, piece := range pieces(token, size) {
		cmds = append(cmds, p.Get(ctx, frameKey(lane, name, piece)))
	}
	return func() ([]byte, error) { return joinPieces(name, size, cmds) }
}

func joinPieces(name string, size int, cmds []*redis.StringCmd) ([]byte, error) {
	var large []byte
	for _, cmd := range cmds {
		piece, err := cmd.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			return nil, ErrFrameGone
		case err != nil:
			return nil, damaged(err)
		case large == nil:
			large = piece
		default:
			large = append(large, piece...)
		}
	}
	if len(large) != size {
		return nil, fmt.Errorf("%w: job %s: a large frame has %d bytes, its reference says %d", ErrDamaged, name, len(large), size)
	}
	return large, nil
}

// FrameSize is the size of a frame, or of the large one that it is a reference to.
func FrameSize(frame []byte) int {
	if _, size, ok := parseReference(frame); ok {
		return size
	}
	return len(frame)
}

// parseReference reports false for a frame that is no reference.
func parseReference(frame []byte) (token string, size int, ok bool) {
	m := reference.FindSubmatch(frame)
	if m == nil {
		return "", 0, false
	}
	size, err := strconv.Atoi(string(m[2]))
	return string(m[1]), size, err == nil && size <= maxLarge
}
