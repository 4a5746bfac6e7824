package fleet

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestQuestionsAreBoundedAndAskedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		var questions []Question
		for chunk := range askedMost + 5 {
			questions = append(questions, Question{Job: "j", Chunk: chunk})
		}
		if err := Ask(t.Context(), rdb, "w", questions); err != nil {
			t.Fatal(err)
		}
		if left := rdb.PTTL(t.Context(), askPrefix+"w").Val(); left <= 0 || left > askFor {
			t.Errorf("questions are kept for %v, want %v", left, askFor)
		}
		for next := 5; next < len(questions); next += askedAtOnce {
			asked, err := Asked(t.Context(), rdb, "w")
			if err != nil || len(asked) != askedAtOnce || asked[0] != questions[next] {
				t.Fatalf("%d questions, %v; want %d from chunk %d on", len(asked), err, askedAtOnce, next)
			}
		}
		if asked, err := Asked(t.Context(), rdb, "w"); err != nil || len(asked) != 0 {
			t.Errorf("when all have been read there are %v, %v", asked, err)
		}
	})
}

func TestAQuestionThatDoesNotParseHidesNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		rdb.RPush(t.Context(), askPrefix+"w", "{")
		if err := Ask(t.Context(), rdb, "w", []Question{{Job: "j"}}); err != nil {
			t.Fatal(err)
		}
		if asked, err := Asked(t.Context(), rdb, "w"); err == nil || len(asked) != 1 || asked[0].Job != "j" {
			t.Errorf("asked: %+v, %v; want the question about j, and an error", asked, err)
		}
	})
}
