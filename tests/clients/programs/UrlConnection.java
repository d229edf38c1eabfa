import java.net.URL;
import java.net.HttpURLConnection;

class UrlConnection {
    public static void main(String[] args) throws Exception {
        var connection = (HttpURLConnection) new URL(System.getenv("URL")).openConnection();
        connection.setReadTimeout(10_000);
        System.out.println(new String(connection.getInputStream().readAllBytes()));
    }
}
