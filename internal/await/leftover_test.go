package await

import (
	"errors"
	"testing"

	"github.com/distpool/distpool/internal/job"
)

// What was recorded before a job was canceled is checked and opened like all other outcomes.
func TestOutcomesOfACanceledJobAreOpened(t *testing.T) {
	h, rdb := startHub(t)
	other, err := Start(t.Context(), config(rdb, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop(errStopped)
	submitJob(t, h, "a", h.Pool, 2)
	recordOut(t, h, "a", 0, "[0]", 1000)
	if _, err := job.Cancel(t.Context(), rdb, "q", "x", job.Ref{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	attach := func(open error) (*Job, error) {
		return other.Attach(t.Context(), "q/a", func(_ job.Snapshot, j *Job) error {
			j.Open = func(_ int, frame []byte) ([]byte, error) { return frame, open }
			return nil
		})
	}
	if _, err := attach(ErrUntrusted); !errors.Is(err, ErrUntrusted) {
		t.Errorf("outcomes that do not open: %v, want ErrUntrusted", err)
	}
	j, err := attach(nil)
	if err != nil {
		t.Fatal(err)
	}
	waitDone(t, j.Done(), "the end")
	if o := j.Outcomes(); len(o) != 1 || string(o[0].Values) != "[0]" {
		t.Errorf("the outcomes are %v, want that of chunk 0", o)
	}
}
