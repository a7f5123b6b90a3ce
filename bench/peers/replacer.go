// replacer LOG SECRETS ROUNDS: Go's strings.Replacer over LOG in 32 KiB chunks. Prints MB/s for each round.
//
// It forgets what it saw at the end of a chunk, so a secret across two chunks gets through: it does less than
// the scrubber.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	log, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	secrets, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	rounds, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	var pairs []string
	for _, secret := range strings.Fields(string(secrets)) {
		pairs = append(pairs, secret, "***")
	}
	replacer := strings.NewReplacer(pairs...)
	text := string(log)
	for range rounds {
		start := time.Now()
		for at := 0; at < len(text); at += 32 << 10 {
			if _, err := replacer.WriteString(io.Discard, text[at:min(at+32<<10, len(text))]); err != nil {
				panic(err)
			}
		}
		fmt.Println(float64(len(text)) / 1e6 / time.Since(start).Seconds())
	}
}
