FROM python:3.13-slim
WORKDIR /srv/shop
COPY . .
RUN pip install --no-cache-dir -e ".[demo]" gunicorn
ENV PYTHONUNBUFFERED=1
CMD ["python", "manage.py", "runworker"]
