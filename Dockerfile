# syntax=docker/dockerfile:1

# An exact version, so that builds are reproducible. To pin the digest as well, look it up with
# docker buildx imagetools inspect.
ARG PYTHON=python:3.13.14-slim-bookworm

FROM ${PYTHON} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements-production.txt /tmp/
RUN /venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements-production.txt

WORKDIR /app
COPY manage.py ./
COPY agentsite agentsite
COPY agent agent
# A key for this step only; collectstatic signs nothing.
RUN SECRET_KEY=only-while-building-only-while-building-only-while-building \
    /venv/bin/python manage.py collectstatic --noinput --verbosity 0 \
    && /venv/bin/python -m compileall -q agent agentsite


FROM ${PYTHON}

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    DATABASE_URL=sqlite:////data/db.sqlite3
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin agent \
    && install --directory --owner agent --group agent /data
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app

USER agent
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os; \
host = os.environ.get('ALLOWED_HOSTS', '').split(',')[0].strip().lstrip('.'); \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); \
server.request('GET', '/healthz', headers={'Host': host or 'localhost'}); \
raise SystemExit(server.getresponse().status != 200)"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0"]
