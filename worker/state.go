package worker

// workerState implements observe.WorkerState.
type workerState struct{ w *worker }

func (s *workerState) ID() string             { return s.w.self.ID }
func (s *workerState) Tasks() []string        { return s.w.self.Tasks }
func (s *workerState) Queues() map[string]int { return s.w.cfg.Queues }
func (s *workerState) Slots() int             { return s.w.cfg.Concurrency }
func (s *workerState) Busy() int              { return s.w.handler.Busy() }
func (s *workerState) Draining() bool         { return s.w.draining.Load() }
