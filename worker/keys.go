package worker

import (
	"fmt"

	"github.com/distpool/distpool/internal/call"
)

// checkKeys says what is wrong with the keys, before a delivery is taken.
func (w *worker) checkKeys() error {
	for name, t := range w.executor.Tasks {
		if s := call.SealerOf(t); s != nil {
			if _, err := s.Seal(nil, nil); err != nil {
				return fmt.Errorf("starting a worker: task %q: %w", name, err)
			}
		}
	}
	return nil
}

// checkKeyring says what is wrong with the keyring.
func (c Config) checkKeyring() error {
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("worker.Config: field Keyring: %w", err)
	}
	return nil
}
