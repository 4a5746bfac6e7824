package fleet

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

func TestQuestionsAreBoundedAndAskedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		var chunks []job.Delivery
		for chunk := range askedMost + 5 {
			chunks = append(chunks, job.Delivery{Ref: job.Ref{Name: "j", Gen: "g"}, Chunk: chunk, Number: 2})
		}
		if err := (Owners{rdb}).Ask(t.Context(), "w", "q", chunks); err != nil {
			t.Fatal(err)
		}
		if left := rdb.PTTL(t.Context(), askPrefix+"w").Val(); left <= 0 || left > askFor {
			t.Errorf("questions are kept for %v, want %v", left, askFor)
		}
		for next := 5; next < len(chunks); next += askedAtOnce {
			questions, err := asked(t.Context(), rdb, "w")
			if err != nil || len(questions) != askedAtOnce || questions[0] != (Question{"q", chunks[next]}) {
				t.Fatalf("%d questions, %v; want %d from chunk %d on", len(questions), err, askedAtOnce, next)
			}
		}
		if questions, err := asked(t.Context(), rdb, "w"); err != nil || len(questions) != 0 {
			t.Errorf("when all have been read there are %v, %v", questions, err)
		}
	})
}

func TestAQuestionThatDoesNotParseHidesNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		rdb.RPush(t.Context(), askPrefix+"w", "{")
		if err := (Owners{rdb}).Ask(t.Context(), "w", "q", []job.Delivery{{Ref: job.Ref{Name: "j"}}}); err != nil {
			t.Fatal(err)
		}
		if questions, err := asked(t.Context(), rdb, "w"); err == nil || len(questions) != 1 || questions[0].Name != "j" {
			t.Errorf("asked: %+v, %v; want the question about j, and an error", questions, err)
		}
	})
}
