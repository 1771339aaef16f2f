package pgtest_test

import (
	"testing"

	"liuhen/internal/pgtest"
)

func TestDatabasesAreApart(t *testing.T) {
	a, b := pgtest.New(t), pgtest.New(t)
	if _, err := a.Exec(t.Context(), `create table only_here (id int)`); err != nil {
		t.Fatal(err)
	}
	var there bool
	if err := b.QueryRow(t.Context(), `select to_regclass('only_here') is not null`).Scan(&there); err != nil {
		t.Fatal(err)
	}
	if there {
		t.Error("a table of one test's database is seen in another's")
	}
}

func TestDroppedWithTheTest(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) {
		if err := pgtest.New(t).QueryRow(t.Context(), `select current_database()`).Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	pool := pgtest.New(t)
	var left int
	if err := pool.QueryRow(t.Context(), `select count(*) from pg_database where datname = $1`, name).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("database %s is there after its test", name)
	}
}
