package await

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// The sentinels that package results exports. They are made here because the
// hub settles jobs with them.
var (
	ErrCanceled   = errors.New("the job was canceled")
	ErrUnknownJob = errors.New("no job has this ID")
	ErrExpired    = errors.New("the job's record is gone")
	ErrCorrupt    = errors.New("the job's record is corrupt")
	ErrClosed     = errors.New("the pool is closed")
	ErrUntrusted  = errors.New("refused because of its signature")

	ErrNotStarted error = notStartedError{}
)

// corrupt makes an error about a damaged record an ErrCorrupt; others stay.
func corrupt(err error) error {
	if job.IsDamaged(err) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// expired is the error of a job whose record is gone.
func (j *Job) expired() error {
	return fmt.Errorf("job %s of task %q: %w: it was forgotten, outlived its time to live, or Redis lost it", j.ID, j.Task, ErrExpired)
}

// lose settles a job whose record is gone.
func (h *Hub) lose(j *Job) {
	err := j.expired()
	h.LogCorrupt(j, err)
	j.fail(err)
}

// closed makes ErrClosed of the error of a request after the hub's client was closed.
func closed(err error) error {
	if errors.Is(err, redis.ErrClosed) {
		return ErrClosed
	}
	return err
}

type notStartedError struct{}

func (notStartedError) Error() string {
	return "the job was canceled: nothing of it was started in time"
}

// Is makes it an ErrCanceled too.
func (notStartedError) Is(target error) bool { return target == ErrCanceled }
