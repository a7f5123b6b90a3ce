module github.com/claimcheck/claimcheck/sdk/go

go 1.21
