package worker

import (
	"testing"
	"time"
)

func TestACheckpointThatHangsDoesNotPutOffTheNextOneForMinutes(t *testing.T) {
	for _, c := range []struct{ took, next time.Duration }{
		{0, time.Second},
		{50 * time.Millisecond, time.Second},
		{300 * time.Millisecond, 6 * time.Second}, // a twentieth of the time
		{5 * time.Second, 20 * time.Second},       // its timeout
	} {
		if next := untilNextSave(c.took); next != c.next {
			t.Errorf("a checkpoint took %v, and the next one is due after %v, want %v", c.took, next, c.next)
		}
	}
}
