package main

import "context"

// costLine is what W8 prints: what a single call costs Redis.
type costLine struct {
	W         string  `json:"w"`
	N         int     `json:"n"`
	Rate      float64 `json:"rate"`
	RedisUS   float64 `json:"redis_us_per"`   // processor time, us
	RedisCmds float64 `json:"redis_cmds_per"` // with those that scripts make
}

func runRedisCost(ctx context.Context, sys system, s settings) (line any, err error) {
	rdb := dial(s)
	defer rdb.Close()
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		before, err := usageOf(ctx, rdb)
		if err != nil {
			return err
		}
		if err := singles(ctx, c, square, s.n, s.g); err != nil {
			return err
		}
		after, err := usageOf(ctx, rdb)
		if err != nil {
			return err
		}
		n := float64(s.n)
		line = costLine{
			s.w, s.n,
			rounded(n/after.at.Sub(before.at).Seconds(), 1),
			rounded((after.cpu-before.cpu).Seconds()*1e6/n, 2),
			rounded(float64(after.commands-before.commands)/n, 2),
		}
		return nil
	})
	return line, err
}
