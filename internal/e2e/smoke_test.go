package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

func TestSmoke(t *testing.T) {
	for _, kind := range []string{"mini", "real"} {
		t.Run(kind, func(t *testing.T) {
			url := ""
			if kind == "mini" {
				url = miniredis.RunT(t).Addr()
			} else {
				url = redistest.Start(t).Addr()
			}
			square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
			boom := tasks.Define("boom", func(_ context.Context, n int) (int, error) { panic("boom") })
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error)
			go func() { ended <- worker.Run(ctx, worker.Config{Redis: url, Concurrency: 4}, square, boom) }()
			p, err := producer.Open(ctx, producer.Config{Redis: url})
			if err != nil {
				t.Fatal(err)
			}
			c, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			for i := range 5 {
				s := time.Now()
				v, err := producer.Apply(c, p, square, i)
				fmt.Println(v, err, time.Since(s))
			}
			in := make([]int, 1000)
			for i := range in {
				in[i] = i
			}
			s := time.Now()
			vs, err := producer.Map(c, p, square, in, producer.ChunkSize(20))
			fmt.Println(len(vs), vs[999], err, time.Since(s))
			_, err = producer.Apply(c, p, boom, 1)
			var te *results.TaskError
			fmt.Println(err, errors.As(err, &te))
			fmt.Println(te.Stack)
			vs, err = producer.Map(c, p, square, nil)
			fmt.Println(vs, vs == nil, err)
			p.Close()
			fmt.Println("join", p.Join(c))
			s = time.Now()
			stop()
			fmt.Println(<-ended, time.Since(s))
		})
	}
}
