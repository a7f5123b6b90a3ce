module claimcheck.example/go

go 1.21
