package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/secure"
)

//go:embed assets
var assets embed.FS

// server is the web application.
type server struct {
	jobs      *jobs
	templates *template.Template
	log       *slog.Logger

	streams limit           // browsers that follow jobs
	uploads limit           // uploads that are held in memory
	ending  context.Context // ends when this process shall end, before connections are cut
}

const (
	maxUploads = 4

	headerTime = 5 * time.Second
	readTime   = 2 * time.Minute // of a whole upload
	writeTime  = 3 * time.Minute // counted from the same moment, so longer; streams set their own
	idleTime   = 2 * time.Minute
	// endTime is how long requests may take to end after SIGTERM.
	endTime = 10 * time.Second
)

// serve runs the web application on addr until ctx ends.
func serve(ctx context.Context, addr, redisURL string, ring secure.Keyring, keep time.Duration, log *slog.Logger) error {
	target, err := redis.ParseURL(redisURL)
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	rdb := redis.NewClient(target)
	defer rdb.Close()
	pool, err := producer.Open(ctx, producer.Config{Client: rdb, Keyring: ring, ResultTTL: keep, JobTTL: jobTTL, Logger: log})
	if err != nil {
		return err
	}
	// Jobs go on without this process: it lets go of them.
	defer pool.Release()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w; -addr names another address", err)
	}
	s, err := newServer(ctx, &jobs{pool, rdb, keep}, log)
	if err != nil {
		return err
	}
	fmt.Printf("webapp: http://%s (process %d)\n", listener.Addr(), os.Getpid())
	return s.run(ctx, listener)
}

func newServer(ctx context.Context, j *jobs, log *slog.Logger) (*server, error) {
	templates, err := template.New("").Funcs(functions).ParseFS(assets, "assets/*.html")
	if err != nil {
		return nil, err
	}
	return &server{
		jobs: j, templates: templates, log: log, ending: ctx,
		streams: make(limit, maxStreams), uploads: make(limit, maxUploads),
	}, nil
}

// run serves until the server's context ends, and then lets requests end.
func (s *server) run(ctx context.Context, listener net.Listener) error {
	web := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return web.Shutdown(last)
}

// handler is everything that the application answers to.
func (s *server) handler() http.Handler {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the name is valid
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /jobs", s.upload)
	mux.HandleFunc("POST /sample", s.sample)
	mux.HandleFunc("GET /jobs/{id}", s.job)
	mux.HandleFunc("GET /jobs/{id}/events", s.events)
	mux.HandleFunc("POST /jobs/{id}/cancel", s.cancel)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	for _, name := range []string{"style.css", "page.js", "icon.svg"} {
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache") // the next version may have other ones
			http.ServeFileFS(w, r, files, name)
		})
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		s.message(w, http.StatusNotFound, "There is no such page.")
	})
	// Another site's page must not submit or cancel with a visitor's browser.
	return withHeaders(http.NewCrossOriginProtection().Handler(mux))
}

// withHeaders lets pages use what this server sends and nothing else: no script, style
// or address in a file's name or text could do anything.
func withHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // a job's address is its key
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// fail answers with what went wrong.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refused errUpload
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		s.message(w, http.StatusUnprocessableEntity, "The upload was refused: "+refused.Error()+".")
	case errors.As(err, &large):
		s.message(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The upload was refused: it has more than %d MiB.", maxUpload>>20))
	case errors.Is(err, errNoJob):
		s.message(w, http.StatusNotFound, "There is no such job.")
	case errors.Is(err, errExpired):
		s.message(w, http.StatusGone, "The results of this job are not kept any longer. They were kept for "+about(s.jobs.keep)+" after its end.")
	case r.Context().Err() != nil: // nobody reads the answer
	default:
		s.log.Error("answering a request", "method", r.Method, "path", r.URL.Path, "error", err)
		s.message(w, http.StatusServiceUnavailable, "Redis does not answer. Jobs that were accepted are kept; try again soon.")
	}
}
