// node front.mjs SERVER: pages and libraries for a browser, and everything else passed on to SERVER, host and port, so
// that a page and the server are of one origin. Prints its own address. While the server is away, so is this.
import { createReadStream, existsSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join, normalize } from 'node:path';

const [host, port] = process.argv[2].split(':');
const files = { '/pages/': '.', '/libraries/': 'node_modules' };
const types = { html: 'text/html', js: 'text/javascript' };

function fileOf(path) {
  const folder = Object.keys(files).find((prefix) => path.startsWith(prefix));
  const file = folder && join(files[folder], normalize(path.slice(folder.length - 1)));
  return file && existsSync(file) ? file : undefined;
}

const front = createServer((asked, answer) => {
  const file = fileOf(new URL(asked.url, 'http://front').pathname);
  if (file) {
    answer.setHeader('content-type', types[file.split('.').pop()] ?? 'application/octet-stream');
    createReadStream(file).pipe(answer);
    return;
  }
  const { method, url: path, headers } = asked;
  const passed = request({ host, port, method, path, headers }, (found) => {
    answer.writeHead(found.statusCode, found.headers);
    found.pipe(answer);
    found.on('error', () => answer.destroy());
  });
  passed.on('error', () => answer.destroy());
  asked.pipe(passed);
});
front.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${front.address().port}`));
