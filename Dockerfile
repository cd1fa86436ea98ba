# The shop of testproject: web server, worker, migrations and mail sink are one image with different commands.
FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 SHOP_VAR_DIR=/var/lib/shop
RUN useradd --create-home --uid 10001 shop && install --directory --owner=shop --group=shop /var/lib/shop
WORKDIR /srv/shop
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY django_sidekick django_sidekick
RUN pip install --no-cache-dir --editable ".[demo]" "psycopg[binary]>=3.2"
COPY manage.py ./
COPY config config
COPY testproject testproject
USER shop
CMD ["python", "manage.py", "runworker"]
