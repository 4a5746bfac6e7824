// Package redisconn is the one place where distpool turns the name of a Redis
// into a client. Every program and package that takes a Redis URL takes it in
// the forms that [Parse] reads, and reports trouble in the words of [Check].
//
// go-redis writes to standard error while a Redis is away ("connection pool:
// failed to dial ..."). Whether it may is for a program to decide, since its
// logger is one for the whole process: a main function calls Disable of
// go-redis's package logging, or redis.SetLogger. This package does neither.
package redisconn
