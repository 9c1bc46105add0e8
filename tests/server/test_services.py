"""The servers that other tests rely on: they answer, freeze, die and come back as asked."""

import socket
from contextlib import closing

import psycopg
import pytest

from tests.support import services


def ask_redis(url, *words):
    with closing(socket.create_connection((services.HOST, port_of(url)), timeout=0.5)) as peer:
        peer.sendall(" ".join(words).encode() + b"\r\n")
        return peer.recv(200)


def port_of(url):
    return int(url.rsplit(":", 1)[1].split("/")[0])


def answers(url):
    try:
        return ask_redis(url, "PING") == b"+PONG\r\n"
    except OSError:
        return False


def count(url):
    with psycopg.connect(url, connect_timeout=2) as connection:
        return connection.execute("SELECT count(*) FROM kept").fetchone()[0]


@pytest.mark.redis
def test_redis_freezes_goes_on_dies_and_comes_back_on_its_port():
    with services.start_redis() as redis:
        url = redis.url
        assert answers(url)
        redis.stop()
        assert not answers(url)
        redis.cont()
        assert answers(url)
        redis.kill()
        assert not answers(url)
        redis.start()
        assert (redis.url, answers(url)) == (url, True)
        redis.restart()
        assert answers(url)
    assert not answers(url)
    assert not redis.directory.exists()


@pytest.mark.redis
def test_a_frozen_redis_can_be_ended():
    with services.start_redis() as redis:
        redis.stop()
    assert not redis.running


@pytest.mark.postgres
def test_postgres_keeps_what_is_committed_through_every_way_to_end_it():
    with services.start_postgres() as postgres:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        for end in (
            postgres.restart,
            lambda: postgres.restart(crash=True),
            lambda: (postgres.kill(), postgres.start()),
        ):
            end()
            with psycopg.connect(postgres.url) as connection:
                connection.execute("INSERT INTO kept VALUES (1)")
        postgres.kill()
        postgres.start()
        assert count(postgres.url) == 4
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            count(postgres.url)
        postgres.cont()
        assert count(postgres.url) == 4
    assert not postgres.directory.exists()


@pytest.mark.postgres
def test_each_test_gets_an_empty_database(postgres_server):
    first, second = postgres_server.create_database(), postgres_server.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept ()")
    with pytest.raises(psycopg.errors.UndefinedTable):
        count(second)
    postgres_server.drop_database(first)
    postgres_server.drop_database(second)
    with pytest.raises(psycopg.OperationalError):
        count(first)
